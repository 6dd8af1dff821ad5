"""Reading published and exported folders: ``config.json`` beside safetensors, one file or shards.

Parameter names are ours already (``checkpoints.layout``), so reading is checking: every tensor is
there once, nothing is left over, and every shape is what the configuration says. Nothing in the
folder is executed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from proxylm.checkpoints.layout import Facts
from proxylm.checkpoints.layouts import read_config
from proxylm.errors import CheckpointError, DamagedFileError, one_line
from proxylm.files import read_json
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.models.stored_weights import require_floating_point

CONFIG_FILE = "config.json"
TENSORS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
FAR_LARGER = 2
"""So many times the numbers that are stored: not a missing tensor, other sizes altogether."""


def load_folder(folder: Path) -> tuple[LanguageModel, Facts | None]:
    """The model of a folder, with its weights in float32, on the CPU; and what proxylm noted there.

    Shapes are compared before anything is allocated; one file is in memory at a time.

    Raises:
        DamagedFileError: a file is missing, truncated or not what its name says, or a tensor in it
            is not of floating-point numbers.
        CheckpointError: another architecture, or tensors that do not fit the configuration.
    """
    config, facts = _read_config_file(folder / CONFIG_FILE)
    files = _tensor_files(folder)
    model = _model_without_values(config, files)
    model.to_empty(device="cpu")
    parameters = model.state_dict()
    with torch.no_grad():
        for path in files:
            for name, tensor in _read_tensors(path):
                parameters[name].copy_(tensor)
    return model, facts


def _model_without_values(config: ModelConfig, files: list[Path]) -> LanguageModel:
    """The model on the ``meta`` device, every tensor of which is in one of the files."""
    found: dict[str, tuple[Path, list[int]]] = {}
    for path in files:
        for name, shape in _read_shapes(path):
            if name in found:
                raise CheckpointError(
                    f"{path}: tensor '{name}' is in {found[name][0].name} already"
                )
            found[name] = (path, shape)
    stored = sum(math.prod(shape) for _, shape in found.values())
    # Single wrong tensors are named below; sizes of another order may be beyond what torch takes.
    if config.parameter_count > FAR_LARGER * stored:
        raise CheckpointError(
            f"{files[0].parent}: {CONFIG_FILE} describes a far larger model than the {stored:,} "
            "numbers in its tensors"
        )
    with torch.device("meta"):
        model = LanguageModel(config)
    _require_same_shapes(found, model, files)
    for path in files:
        require_floating_point(path)
    return model


def _require_same_shapes(
    found: Mapping[str, tuple[Path, list[int]]], model: LanguageModel, files: list[Path]
) -> None:
    wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    for name, (path, shape) in found.items():
        if name not in wanted:
            raise CheckpointError(
                f"{path}: tensor '{name}' has no place in the model of {CONFIG_FILE}"
            )
        if shape != wanted[name]:
            raise CheckpointError(
                f"{path}: tensor '{name}' is {shape}, {CONFIG_FILE} says {wanted[name]}"
            )
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        names = ", ".join(path.name for path in files)
        raise CheckpointError(
            f"{files[0].parent}: tensor '{missing[0]}' is in none of its files ({names})"
        )


def _read_config_file(path: Path) -> tuple[ModelConfig, Facts | None]:
    values = read_json(path)
    if not isinstance(values, Mapping):
        raise DamagedFileError(f"{path}: expected a JSON object of keys and values")
    return read_config(values, origin=str(path))


def _tensor_files(folder: Path) -> list[Path]:
    single, index = folder / TENSORS_FILE, folder / INDEX_FILE
    if single.exists():
        return [single]
    if not index.exists():
        raise DamagedFileError(f"{folder}: expected {TENSORS_FILE} or {INDEX_FILE} in it")
    contents = read_json(index)
    names = contents.get("weight_map") if isinstance(contents, Mapping) else None
    if not isinstance(names, Mapping) or not names:
        raise DamagedFileError(f"{index}: expected a 'weight_map' of tensor names to files")
    for name in names.values():
        _require_shard_name(index, name)
    return [index.with_name(name) for name in sorted(set(names.values()))]


def _require_shard_name(index: Path, name: object) -> None:
    # An index of another origin must not make us read files outside its folder.
    if (
        not isinstance(name, str)
        or not name.isprintable()
        or Path(name).name != name
        or not name.endswith(".safetensors")
    ):
        raise DamagedFileError(
            f"{index}: {name!r} is not the name of a file in this folder (*.safetensors)"
        )


def _read_shapes(path: Path) -> Iterator[tuple[str, list[int]]]:
    with _unreadable_as_damaged(path), safe_open(path, framework="pt") as stream:
        for name in sorted(stream.keys()):
            yield name, stream.get_slice(name).get_shape()


def _read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    with _unreadable_as_damaged(path):
        yield from sorted(load_file(path).items())


@contextmanager
def _unreadable_as_damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DamagedFileError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(f"{path}: not readable as safetensors ({one_line(error)})") from None
