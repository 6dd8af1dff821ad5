"""Where the tests' few problems lie, and where whole benchmarks may lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxylm.errors import ProxylmError
from proxylm.evaluation.execution.detection import usable_tier

DATA = Path(__file__).parent / "evaluation" / "data"
RECODE = DATA / "recode"
HUMANEVAL = RECODE / "nominal" / "HumanEval.jsonl"

FULL_DATA_VARIABLE = "PROXYLM_BENCHMARKS"
"""Names a folder with the whole released files, for the long tests."""


def full_data(name: str) -> Path:
    """A whole benchmark's file; the test skips, saying so, where it is not at hand."""
    folder = os.environ.get(FULL_DATA_VARIABLE)
    if folder is None or not (Path(folder) / name).exists():
        pytest.skip(f"needs {name} in the folder that {FULL_DATA_VARIABLE} names")
    return Path(folder) / name


def need_sandbox() -> None:
    """Skip where generated code cannot be run safely; the reason says what is lacking."""
    try:
        usable_tier()
    except ProxylmError as error:
        pytest.skip(str(error))
