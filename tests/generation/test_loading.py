"""What can be loaded, and one clear line for everything that cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import proxylm
from proxylm.checkpoints.checkpoint import (
    CHECKPOINTS_FOLDER,
    Origin,
    TrainingState,
    save_checkpoint,
)
from proxylm.errors import CheckpointError, DamagedFileError, ProxylmError, UsageError
from small_models import small_model

ORIGIN = Origin(configuration_hash="c", data_fingerprint="d", compressor_fingerprint=None)
IDS = torch.tensor([[1, 12, 70, 80]])


def save_step(run: Path, step: int, seed: int) -> Path:
    model = small_model(seed=seed)
    return save_checkpoint(
        run / CHECKPOINTS_FOLDER,
        model_tensors=model.state_dict(),
        optimizer_tensors={"moment": torch.zeros(1)},
        model_config=model.config,
        state=TrainingState(step=step),
        origin=ORIGIN,
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save_step(tmp_path / "run", 10, seed=1)
    save_step(tmp_path / "run", 20, seed=2)
    return tmp_path / "run"


@pytest.fixture
def published(golden: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(golden / "evabyte", tmp_path / "published"))


def test_a_run_gives_its_newest_checkpoint(run: Path) -> None:
    assert torch.equal(proxylm.load(run).logits(IDS), small_model(seed=2).logits(IDS))
    assert torch.equal(proxylm.load(str(run)).logits(IDS), small_model(seed=2).logits(IDS))


def test_weights_of_another_type_are_refused_by_name(run: Path) -> None:
    with pytest.raises(UsageError, match=r"weights 'int8': must be float32 or bfloat16"):
        proxylm.load(run, weights="int8")


def test_a_checkpoint_is_itself(run: Path) -> None:
    first = run / CHECKPOINTS_FOLDER / "step-00000010"
    assert torch.equal(proxylm.load(first).logits(IDS), small_model(seed=1).logits(IDS))


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(run: Path) -> None:
    newest = run / CHECKPOINTS_FOLDER / "step-00000020" / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    assert torch.equal(proxylm.load(run).logits(IDS), small_model(seed=1).logits(IDS))


def test_shards_give_the_same_model(published: Path, golden: Path) -> None:
    tensors = load_file(published / "model.safetensors")
    names = sorted(tensors)
    files = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, members in files.items():
        save_file({name: tensors[name] for name in members}, published / file)
    (published / "model.safetensors").unlink()
    weight_map = {name: file for file, members in files.items() for name in members}
    index = published / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    expected = proxylm.load(golden / "evabyte").logits(IDS)
    assert torch.equal(proxylm.load(published).logits(IDS), expected)

    save_file({name: tensors[name] for name in names}, published / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"b\.safetensors: tensor .* is in a\.safetensors"):
        proxylm.load(published)
    index.write_text(json.dumps({"weight_map": {"x": "../elsewhere.safetensors"}}))
    with pytest.raises(DamagedFileError, match="not the name of a file in this folder"):
        proxylm.load(published)


def damage_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_tensors_that_do_not_fit_are_named(published: Path) -> None:
    damage_tensors(published, lambda tensors: tensors.pop("model.norm.weight"))
    with pytest.raises(CheckpointError, match=r"tensor 'model\.norm\.weight' is in none"):
        proxylm.load(published)
    damage_tensors(published, lambda tensors: tensors.update({"model.norm.weight": torch.ones(3)}))
    with pytest.raises(CheckpointError, match=r"is \[3\], config\.json says \[32\]"):
        proxylm.load(published)
    damage_tensors(
        published,
        lambda tensors: tensors.update(
            {"model.norm.weight": torch.ones(32), "extra": torch.ones(1)}
        ),
    )
    with pytest.raises(CheckpointError, match="tensor 'extra' has no place"):
        proxylm.load(published)


def test_damaged_files_are_named(published: Path) -> None:
    weights = published / "model.safetensors"
    whole = weights.read_bytes()
    for cut in (0, 4, 100, len(whole) - 1):
        weights.write_bytes(whole[:cut])
        with pytest.raises(DamagedFileError, match=r"model\.safetensors: not readable"):
            proxylm.load(published)
    weights.unlink()
    with pytest.raises(DamagedFileError, match=r"expected model\.safetensors or"):
        proxylm.load(published)
    for text in ("{", "[1]", '{"model_type": "llama"}', '{"model_type": "evabyte"}'):
        (published / "config.json").write_text(text)
        with pytest.raises(ProxylmError, match=r"config\.json"):
            proxylm.load(published)


def test_folders_of_other_things_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder; expected a run folder"):
        proxylm.load(tmp_path / "missing")
    with pytest.raises(UsageError, match="nothing to load in it; expected a run folder"):
        proxylm.load(tmp_path)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match="is a file; expected"):
        proxylm.load(file)
    (tmp_path / CHECKPOINTS_FOLDER).mkdir()
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        proxylm.load(tmp_path)


def test_every_error_is_one_line(tmp_path: Path, published: Path) -> None:
    (published / "model.safetensors").write_bytes(b"\x00" * 50)
    for path in (tmp_path, tmp_path / "a\nb", published):
        with pytest.raises(ProxylmError) as caught:
            proxylm.load(path)
        assert len(str(caught.value).replace(str(path), "").splitlines()) == 1
