"""Reading published and exported folders: ``config.json`` beside safetensors, one file or shards.

Parameter names are ours already (``checkpoints.layouts``). Nothing in the folder is executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from proxylm.checkpoints.layouts.choice import read_config
from proxylm.checkpoints.layouts.contract import Facts
from proxylm.checkpoints.tensor_files import TensorFiles
from proxylm.errors import DamagedFileError
from proxylm.files import read_json
from proxylm.models.language_model import LanguageModel

CONFIG_FILE = "config.json"
TENSORS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


def load_folder(folder: Path) -> tuple[LanguageModel, Facts | None]:
    """The model of a folder, with its weights in float32, on the CPU; and what proxylm noted there.

    Raises:
        DamagedFileError: a file is missing, truncated or not what its name says, or a tensor in it
            is not of floating-point numbers.
        CheckpointError: another architecture, or tensors that do not fit the configuration.
    """
    path = folder / CONFIG_FILE
    values = read_json(path)
    if not isinstance(values, Mapping):
        raise DamagedFileError(f"{path}: expected a JSON object of keys and values")
    config, facts = read_config(values, origin=str(path))
    tensors = TensorFiles(tensor_files(folder), sizes_from=CONFIG_FILE)
    return tensors.new_model(config), facts


def tensor_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: the one, or those that its index names.

    Raises:
        DamagedFileError: there is neither, or the index is none.
    """
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
