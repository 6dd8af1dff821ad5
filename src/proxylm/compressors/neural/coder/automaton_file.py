"""The automaton's file: one safetensors file that names its content and refuses to be another's."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from proxylm.compressors.neural.coder.automaton import ARRAYS, Automaton
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.config import validate_config
from proxylm.errors import DamagedFileError, UsageError, one_line
from proxylm.files import atomic_file

FORMAT_VERSION = 1
DESCRIPTION = "automaton"


def save_automaton(automaton: Automaton, path: Path) -> None:
    """Write an automaton; the file appears whole or not at all."""
    description = {
        "format_version": FORMAT_VERSION,
        "settings": automaton.settings.model_dump(mode="json"),
        "distribution_fingerprint": automaton.distribution_fingerprint,
        "fingerprint": automaton.fingerprint,
    }
    # One key: several would be written in an order that changes from run to run.
    metadata = {DESCRIPTION: json.dumps(description)}
    with atomic_file(path) as temporary:
        save_file(automaton.arrays(), temporary, metadata)


def load_automaton(path: Path) -> Automaton:
    """Read an automaton and verify every bit of it.

    Raises:
        DamagedFileError: the file is missing, altered or of a foreign format.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {})[DESCRIPTION])
            names = set(file.keys())
            if description["format_version"] != FORMAT_VERSION or names != set(ARRAYS):
                raise DamagedFileError(f"{path}: not an automaton that this version reads")
            arrays = {name: file.get_tensor(name) for name in ARRAYS}
        settings = validate_config(CoderSettings, description["settings"])
        automaton = Automaton(
            settings=settings,
            distribution_fingerprint=description["distribution_fingerprint"],
            **arrays,
        )
        expected = description["fingerprint"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, UsageError) as error:
        reason = one_line(error)
        raise DamagedFileError(f"{path}: not readable as an automaton ({reason})") from None
    if automaton.fingerprint != expected:
        raise DamagedFileError(
            f"{path}: its content is not what its fingerprint says; build the automaton again"
        )
    return automaton
