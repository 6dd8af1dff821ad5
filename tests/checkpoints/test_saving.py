"""``proxylm.save``: what it writes is a checkpoint for everybody else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import proxylm
from proxylm.checkpoints.checkpoint import open_checkpoint
from proxylm.checkpoints.saving import save
from proxylm.cli.main import run as command
from proxylm.compressors.gzip import GzipCompressor, GzipSettings
from proxylm.compressors.registry import load_compressor
from proxylm.errors import CannotWriteError, DamagedFileError, UsageError
from proxylm.generation.byte_model import ByteModel
from small_models import small_model
from small_runs import make_store, tiny_config

IDS = torch.tensor([[1, 12, 70, 80]])
FILES = ["manifest.json", "model.json", "model.safetensors"]


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    model = small_model(seed=4).train()
    save(model, tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == FILES
    assert model.training and model.lm_head.weight.requires_grad
    loaded = proxylm.load(tmp_path / "mine")
    assert torch.equal(loaded.logits(IDS), model.eval().logits(IDS))
    assert loaded.config == model.config
    known = loaded.compressor_fingerprint, loaded.data_fingerprint, loaded.checkpoint
    assert known == (None, None, None)


def test_what_is_known_goes_along(tmp_path: Path) -> None:
    known = ByteModel(small_model(), compressor_fingerprint="f", data_fingerprint="d")
    save(known, str(tmp_path / "one"))
    loaded = proxylm.load(tmp_path / "one")
    assert (loaded.compressor_fingerprint, loaded.data_fingerprint) == ("f", "d")
    compressor = GzipCompressor(GzipSettings())
    save(small_model(), tmp_path / "two", compressor)
    loaded = proxylm.load(tmp_path / "two")
    assert loaded.compressor_fingerprint == compressor.fingerprint
    save(loaded, tmp_path / "three", compressor)
    with pytest.raises(UsageError, match=f"compressor f and this one is {compressor.fingerprint}"):
        save(known, tmp_path / "four", compressor)
    with pytest.raises(UsageError, match="has 256 symbols and the model has room for 9"):
        save(small_model(vocabulary_size=329), tmp_path / "four", compressor)
    assert not (tmp_path / "four").exists()


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    save(small_model(), tmp_path / "mine")
    path = tmp_path / "mine" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=name):
        proxylm.load(tmp_path / "mine")


def test_mistakes_are_one_line_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already; choose another folder"):
        save(small_model(), tmp_path)
    with pytest.raises(UsageError, match="ByteModel or a Compressor, found Linear"):
        save(torch.nn.Linear(2, 2), tmp_path / "mine")  # type: ignore[arg-type]
    (tmp_path / "file").touch()
    with pytest.raises(CannotWriteError, match="cannot be written"):
        save(small_model(), tmp_path / "file" / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_it_is_no_checkpoint_of_a_run(tmp_path: Path) -> None:
    save(small_model(), tmp_path / "step-00000005")
    with pytest.raises(DamagedFileError, match=r"does not list optimizer\.safetensors"):
        open_checkpoint(tmp_path / "step-00000005")


def test_commands_take_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(small_model(), tmp_path / "mine")
    (tmp_path / "text.txt").write_bytes(b"some text")
    for arguments in (
        ["generate", tmp_path / "mine", "--prompt", "def ", "--max-new-bytes", 3, "--json"],
        ["evaluate", "bpb", tmp_path / "mine", tmp_path / "text.txt", "--json"],
        ["export", tmp_path / "mine", "--to", "hf", "--out", tmp_path / "exported", "--json"],
    ):
        assert command([str(argument) for argument in arguments]) == 0
        assert json.loads(capsys.readouterr().out)
    assert "Not known" in (tmp_path / "exported" / "README.md").read_text()


def test_a_run_starts_from_it(tmp_path: Path) -> None:
    from proxylm.training.run import train

    config = tiny_config(make_store(tmp_path / "store"), steps=2)
    first = train(config).model
    save(first, tmp_path / "mine")
    rate = {"kind": "constant", "peak": 1e-30, "warmup_steps": 0}
    further = config.model_copy(update={"init_from": str(tmp_path / "mine")}).model_dump()
    second = train(type(config).model_validate(further | {"learning_rate": rate})).model
    assert torch.equal(first.lm_head.weight, second.lm_head.weight)


def test_a_compressor_is_saved_likewise(tmp_path: Path) -> None:
    compressor = load_compressor("units:bits=4")
    save(compressor, tmp_path / "units")
    assert load_compressor(tmp_path / "units").fingerprint == compressor.fingerprint
