"""The examples run as they stand, each in a folder of its own, and print what they promise."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))

# The programs that a researcher writes first.
SHORT = (
    "own_mixture.py",
    "own_training_loop.py",
    "own_compressor.py",
    "score_another_model.py",
    "method_in_ten_minutes.py",
)
MAX_LINES = 15


def run(script: Path, folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, script], cwd=folder, capture_output=True, text=True, env=dict(os.environ)
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_runs_and_prints(script: Path, tmp_path: Path) -> None:
    assert run(script, tmp_path).strip()


def test_there_are_examples() -> None:
    assert len(SCRIPTS) >= 8
    assert {path.name for path in SCRIPTS} >= set(SHORT)


@pytest.mark.parametrize("name", SHORT)
def test_the_first_programs_are_short(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) - 1 <= MAX_LINES, "beside the line that says what it is"
