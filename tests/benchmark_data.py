"""Where the tests' few problems lie, and where whole benchmarks may lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxylm.errors import ProxylmError
from proxylm.sandbox.detection import usable_tier

DATA = Path(__file__).parent / "evaluation" / "data"
RECODE = DATA / "recode"
HUMANEVAL = RECODE / "nominal" / "HumanEval.jsonl"

FULL_DATA_VARIABLE = "PROXYLM_BENCHMARKS"
"""Names a folder with the whole released files, for the long tests."""

# MBPP's canonical solutions that fail their own tests under plain Python 3.11, too.
MBPP_FAILURES = {
    "MBPP/64": "ReCode's form has a docstring without indentation",
    "MBPP/966": "ReCode's form indents body and docstring differently",
    "MBPP/601": "ReCode's form has the class Pair, which the test uses, inside the function",
    "MBPP/607": "ReCode's form has the example's text inside the function, for the argument",
    "MBPP/631": "ReCode's form has the example's text inside the function, for the argument",
    "MBPP/367": "the test's trees are in MBPP's set-up code, which this form lacks",
    "MBPP/927": "the test's trees are in MBPP's set-up code, which this form lacks",
    "MBPP/341": "expects the order of a set",
    "MBPP/642": "expects the order of sets",
    "MBPP/596": "expects the size that another Python gives a tuple",
}


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
