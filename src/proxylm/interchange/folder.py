"""Reading published and exported folders: ``config.json`` beside safetensors, one file or shards.

Parameter names are ours already (``interchange.layout``), so reading is checking: every tensor is
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
from proxylm.interchange.layout import Facts
from proxylm.interchange.layouts import read_config
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel

CONFIG_FILE = "config.json"
TENSORS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


def load_folder(folder: Path) -> tuple[LanguageModel, Facts | None]:
    """The model of a folder, with its weights in float32, on the CPU; and what proxylm noted there.

    Raises:
        DamagedFileError: a file is missing, truncated or not what its name says.
        CheckpointError: another architecture, or tensors that do not fit the configuration.
    """
    config, facts = _read_config_file(folder / CONFIG_FILE)
    model = LanguageModel(config)
    load_tensors(model, _tensor_files(folder))
    return model, facts


def load_tensors(model: LanguageModel, files: list[Path]) -> None:
    """Copy the tensors of ``files`` into the model, one file in memory at a time.

    Raises:
        DamagedFileError, CheckpointError: as ``load_folder``.
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


def _read_config_file(path: Path) -> tuple[ModelConfig, Facts | None]:
    values = read_json(path)
    if not isinstance(values, Mapping):
        raise DamagedFileError(f"{path}: expected a JSON object of keys and values")
    return read_config(values, origin=str(path))


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
