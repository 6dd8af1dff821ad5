"""Reading a published EvaByte folder: ``config.json`` beside ``model.safetensors`` or its shards.

Parameter names are ours already (EVA, "Block and heads"), so reading is checking: every tensor is
there once, nothing is left over, and every shape is what the configuration says. Nothing in the
folder is executed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from proxylm.errors import CheckpointError, DamagedFileError
from proxylm.files import read_json
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.models.published import config_from_published

CONFIG_FILE = "config.json"
TENSORS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


def load_published(folder: Path) -> LanguageModel:
    """The model of a published folder, with its weights in float32, on the CPU.

    Raises:
        DamagedFileError: a file is missing, truncated or not what its name says.
        CheckpointError: another architecture, or tensors that do not fit the configuration.
    """
    model = LanguageModel(read_published_config(folder))
    load_tensors(model, _tensor_files(folder))
    return model


def read_published_config(folder: Path) -> ModelConfig:
    """The configuration that the folder's ``config.json`` describes."""
    path = folder / CONFIG_FILE
    values = read_json(path)
    if not isinstance(values, Mapping):
        raise DamagedFileError(f"{path}: expected a JSON object of keys and values")
    return config_from_published(values, origin=str(path))


def load_tensors(model: LanguageModel, files: list[Path]) -> None:
    """Copy the tensors of ``files`` into the model, one file in memory at a time.

    Raises:
        DamagedFileError, CheckpointError: as ``load_published``.
    """
    wanted = model.state_dict()
    seen: dict[str, Path] = {}
    for path in files:
        for name, tensor in _read_tensors(path):
            if name in seen:
                raise CheckpointError(f"{path}: tensor '{name}' is in {seen[name].name} already")
            _copy(path, name, tensor, wanted.get(name))
            seen[name] = path
    missing = sorted(wanted.keys() - seen.keys())
    if missing:
        names = ", ".join(path.name for path in files)
        raise CheckpointError(
            f"{files[0].parent}: tensor '{missing[0]}' is in none of its files ({names})"
        )


def _copy(path: Path, name: str, stored: Tensor, wanted: Tensor | None) -> None:
    if wanted is None:
        raise CheckpointError(f"{path}: tensor '{name}' has no place in the model of {CONFIG_FILE}")
    if stored.shape != wanted.shape:
        raise CheckpointError(
            f"{path}: tensor '{name}' is {list(stored.shape)}, {CONFIG_FILE} says "
            f"{list(wanted.shape)}"
        )
    with torch.no_grad():
        wanted.copy_(stored)


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
    return [_shard(index, name) for name in sorted(map(str, set(names.values())))]


def _shard(index: Path, name: str) -> Path:
    # An index of another origin must not make us read files outside its folder.
    if Path(name).name != name:
        raise DamagedFileError(f"{index}: '{name}' is not the name of a file in this folder")
    return index.with_name(name)


def _read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        yield from sorted(load_file(path).items())
    except FileNotFoundError:
        raise DamagedFileError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(f"{path}: not readable as safetensors ({error})") from None
