"""What an imported model's folder keeps of the program that it comes from: ``source/``.

Its ``config.json`` and the settings of its tokenizer as they were, for the way back
(``token_export``), and what the weights were stored as: numbers of a quantized file are not those
of the model before its quantization.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from proxylm.checkpoints.published_folder import CONFIG_FILE
from proxylm.checkpoints.run_data import run_config_of
from proxylm.config import Config, validate_config
from proxylm.errors import DamagedFileError
from proxylm.files import read_json, write_json

SOURCE_FOLDER = "source"
DESCRIPTION_FILE = "source.json"
SETTINGS_FILES = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
"""What may stand beside ``config.json`` and the tokenizer itself, which the compressor keeps."""

_NOT_QUANTIZED = {"F64", "F32", "F16", "BF16"}
_LONGEST_CHAIN = 64
"""Runs that start from runs; more of them are a circle."""


class SourceDescription(Config):
    """``source.json``.

    Attributes:
        name: of the folder or file that was imported, without its place.
        tensor_types: of a GGUF file, how many tensors are stored in each type.
    """

    name: str
    tensor_types: dict[str, int] = Field(default_factory=dict)

    @property
    def quantized_types(self) -> list[str]:
        """The types that the weights were dequantized from; none of weights that were floats."""
        return sorted(self.tensor_types.keys() - _NOT_QUANTIZED)

    @property
    def dequantized(self) -> str:
        """A sentence about weights that were dequantized."""
        types = ", ".join(f"{count} {name}" for name, count in sorted(self.tensor_types.items()))
        return (
            f"Imported from {self.name}, whose weights were dequantized from GGUF (tensors: "
            f"{types}): they are not those of the model before its quantization."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model as another program had it, without weights and tokenizer.

    Attributes:
        description: its name, and the types of its weights.
        config: its ``config.json``.
        settings: the content of its ``SETTINGS_FILES``, by name.
    """

    description: SourceDescription
    config: Mapping[str, Any]
    settings: Mapping[str, bytes]

    def save(self, folder: Path) -> None:
        """Write it as a new folder."""
        folder.mkdir()
        write_json(folder / DESCRIPTION_FILE, self.description.model_dump(mode="json"))
        write_json(folder / CONFIG_FILE, self.config)
        self.write_settings(folder)

    def write_settings(self, folder: Path) -> None:
        """Write the settings files as they were."""
        for name, content in self.settings.items():
            (folder / name).write_bytes(content)


def read_settings(folder: Path) -> dict[str, bytes]:
    """The settings files that a folder has."""
    paths = (folder / name for name in SETTINGS_FILES)
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def source_of(path: Path) -> Source | None:
    """What an imported model came from, or the imported model that a run started from.

    Folders that ``init_from`` names are looked for from the current folder, as in training.

    Raises:
        DamagedFileError: it is there and cannot be read.
    """
    for _ in range(_LONGEST_CHAIN):
        if (path / SOURCE_FOLDER).is_dir():
            return _read(path / SOURCE_FOLDER)
        config = run_config_of(path)
        started_from = None if config is None else config.get("init_from")
        if not isinstance(started_from, str):
            return None
        path = Path(started_from)
    return None


def _read(folder: Path) -> Source:
    described, config = read_json(folder / DESCRIPTION_FILE), read_json(folder / CONFIG_FILE)
    if not isinstance(config, Mapping):
        raise DamagedFileError(f"{folder / CONFIG_FILE}: expected a JSON object of keys and values")
    return Source(
        description=validate_config(
            SourceDescription, described, origin=str(folder / DESCRIPTION_FILE)
        ),
        config=config,
        settings=read_settings(folder),
    )
