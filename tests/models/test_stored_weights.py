"""Weights that are no floating-point numbers are refused wherever weights are read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import proxylm
from chain_compressor import random_lm
from proxylm.checkpoints.checkpoint import (
    Origin,
    TrainingState,
    open_checkpoint,
    save_checkpoint,
)
from proxylm.compressors.neural.byte_lm.model import ByteLM
from proxylm.errors import DamagedFileError
from proxylm.models.stored_weights import require_floating_point
from small_models import small_model

WRONG = [torch.int8, torch.int64, torch.uint8, torch.bool, torch.complex64]
RIGHT = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
CHANGED = "model.norm.weight"
"""Of a model without this tensor's exact values nobody would notice anything."""


def change_type(path: Path, dtype: torch.dtype) -> None:
    tensors = load_file(path)
    save_file(tensors | {CHANGED: tensors[CHANGED].to(dtype)}, path)


def published(tmp_path: Path, golden: Path, dtype: torch.dtype) -> Callable[[], object]:
    folder = Path(shutil.copytree(golden / "evabyte", tmp_path / "published"))
    change_type(folder / "model.safetensors", dtype)
    return lambda: proxylm.load(folder)


def sharded(tmp_path: Path, golden: Path, dtype: torch.dtype) -> Callable[[], object]:
    folder = tmp_path / "published"
    load = published(tmp_path, golden, dtype)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    names = f'{{"weight_map": {{"{CHANGED}": "model-00001-of-00001.safetensors"}}}}'
    (folder / "model.safetensors.index.json").write_text(names)
    return load


def checkpoint(tmp_path: Path, golden: Path, dtype: torch.dtype) -> Callable[[], object]:
    """Whole by its checksums: somebody has converted it and signed it again."""
    model = small_model()
    tensors = model.state_dict()
    path = save_checkpoint(
        tmp_path,
        model_tensors=tensors | {CHANGED: tensors[CHANGED].to(dtype)},
        optimizer_tensors={},
        model_config=model.config,
        state=TrainingState(step=1),
        origin=Origin(configuration_hash="c", data_fingerprint="d", compressor_fingerprint=None),
    )
    return lambda: open_checkpoint(path).model()


def optimizer(tmp_path: Path, golden: Path, dtype: torch.dtype) -> Callable[[], object]:
    path = save_checkpoint(
        tmp_path,
        model_tensors={},
        optimizer_tensors={"exp_avg.weight": torch.ones(2, dtype=dtype), "step": torch.tensor(3.0)},
        model_config=small_model().config,
        state=TrainingState(step=1),
        origin=Origin(configuration_hash="c", data_fingerprint="d", compressor_fingerprint=None),
    )
    return lambda: open_checkpoint(path).optimizer_tensors(torch.nn.Module())


def byte_lm(tmp_path: Path, golden: Path, dtype: torch.dtype) -> Callable[[], object]:
    random_lm().save(tmp_path)
    change_type(tmp_path / "model.safetensors", dtype)
    return lambda: ByteLM.load(tmp_path, device="cpu")


READERS = [published, sharded, checkpoint, optimizer, byte_lm]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("dtype", WRONG, ids=str)
def test_other_weights_are_refused_and_named(reader, dtype, tmp_path, golden):
    message = r"safetensors: tensor '(model\.norm|exp_avg)\.weight' is of type (I|U|B|C)"
    with pytest.raises(DamagedFileError, match=message) as error:
        reader(tmp_path, golden, dtype)()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("dtype", RIGHT, ids=str)
def test_floating_point_numbers_of_any_width_load(reader, dtype, tmp_path, golden):
    reader(tmp_path, golden, dtype)()


def test_a_file_without_tensors_is_none_of_our_business(tmp_path):
    save_file({}, tmp_path / "model.safetensors")
    require_floating_point(tmp_path / "model.safetensors")
