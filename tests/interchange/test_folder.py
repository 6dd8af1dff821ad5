"""Folders of other origin: sizes and file names that would hurt are refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import proxylm
from proxylm.checkpoints.published_folder import INDEX_FILE, load_folder
from proxylm.errors import CheckpointError, DamagedFileError, UsageError
from proxylm.interchange.export import export_model
from proxylm.models import language_model
from small_models import save_small_run, small_model

IDS = torch.tensor([[1, 70, 80]])


@pytest.fixture
def published(golden: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(golden / "evabyte", tmp_path / "published"))


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "sizes",
    [
        {"vocab_size": 10**12},
        {"vocab_size": 10**30},
        {"hidden_size": 2**62},
        {"intermediate_size": 2**62},
        {"num_hidden_layers": 10**9},
        {"num_pred_heads": 10**15},
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_allocated(
    sizes: dict[str, int], published: Path
) -> None:
    change_config(published, **sizes)
    with pytest.raises(
        CheckpointError, match=r"config\.json describes a far larger model"
    ) as error:
        proxylm.load(published)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("longest", [1, 100, 131_073])
def test_a_longest_length_that_windows_do_not_divide_matters_to_training_alone(
    longest: int, published: Path, tmp_path: Path
) -> None:
    ids = torch.randint(3, 96, (2, 70), generator=torch.Generator().manual_seed(1))
    wanted = proxylm.load(published).logits(ids)
    change_config(published, max_position_embeddings=longest)
    model = proxylm.load(published)
    assert model.config.context == longest
    assert torch.equal(model.logits(ids), wanted)
    with pytest.raises(UsageError, match=f"context {longest} must be a multiple of window 32"):
        model.config.require_context(longest)


def test_a_model_of_any_longest_length_is_used_on_bytes(tmp_path: Path) -> None:
    save_small_run(tmp_path / "run", seed=2)
    export_model(tmp_path / "run", tmp_path / "out")
    before = proxylm.load(tmp_path / "out")
    change_config(tmp_path / "out", max_position_embeddings=61)
    export_model(tmp_path / "out", tmp_path / "again")
    for folder in ("out", "again"):
        model = proxylm.load(tmp_path / folder)
        assert model.config.context == 61
        text = b"def area(radius):\n" * 20
        assert model.generate(text, max_new_bytes=30) == before.generate(text, max_new_bytes=30)
        assert 0 < model.bits_per_byte([text])[0] < 100


def test_slightly_other_sizes_name_the_first_tensor(published: Path) -> None:
    change_config(published, vocab_size=97)
    message = r"tensor 'lm_head\.weight' is \[192, 32\], config\.json says \[194, 32\]"
    with pytest.raises(CheckpointError, match=message):
        proxylm.load(published)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ([], r"\[\]"),
        ("", "''"),
        ("\ud800.safetensors", r"'\\ud800\.safetensors'"),
        ("a\0.safetensors", r"'a\\x00\.safetensors'"),
        (7, "7"),
        ("..", r"'\.\.'"),
        ("/etc/x.safetensors", "'/etc/x.safetensors'"),
        ("config.json", "'config.json'"),
    ],
)
def test_hostile_indexes_are_refused(name: Any, shown: str, published: Path) -> None:
    (published / "model.safetensors").unlink()
    (published / INDEX_FILE).write_text(json.dumps({"weight_map": {"a": name}}))
    message = rf"index\.json: {shown} is not the name of a file in this folder"
    with pytest.raises(DamagedFileError, match=message) as error:
        proxylm.load(published)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("model_type", [[], {}, 3, None])
def test_a_model_type_that_is_no_name_is_refused(model_type: Any, published: Path) -> None:
    change_config(published, model_type=model_type)
    with pytest.raises(CheckpointError, match=r"model_type is .* only evabyte, llama"):
        proxylm.load(published)


def test_loading_draws_no_weights(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_small_run(tmp_path / "run", seed=2)
    wanted = small_model(seed=2).logits(IDS)

    def refuse(*_: object) -> None:
        raise AssertionError("weights are drawn that the file replaces")

    monkeypatch.setattr(language_model, "initialize", refuse)
    model, _ = load_folder(published)
    stored = load_file(published / "model.safetensors")
    for name, parameter in model.state_dict().items():
        assert parameter.device.type == "cpu" and torch.equal(parameter, stored[name]), name
    assert torch.equal(proxylm.load(tmp_path / "run").logits(IDS), wanted)
