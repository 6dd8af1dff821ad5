"""The examples run as they stand, each in a folder of its own, and print what they promise."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

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

# What each prints at its end: facts of its documents as they are, figures of a training by form.
PRINTED = {
    "method_in_ten_minutes.py": r"read as bytes: [01]\.\d+ .*\n.*read as tokens: 0\.\d",
    "own_compressor.py": r"^ViewStore\('views/runs'\) b'aaaaabc' \[97 98 99\]\n$",
    "own_corpus_reader.py": r"^ViewStore\('views/letters'\) <7> b'Letter 7: hello\.\\n'\n$",
    "own_mixture.py": r"0\.50 asked for.*\n.*0\.90 asked for.*\n.*0\.10 asked for, 0\.[01]\d shown",
    "own_training_loop.py": r"^b'[ a-z.]{32}'\n$",
    "score_another_model.py": r"theirs .* [3-9]\.\d+ bits per byte.*\nours .* 8\.\d+ bits per byte",
    "segments_drawn.py": r"16 segments of 50 bytes, 16 symbols.*\n.*3\.12.*\ngzip.*\nunits +0\.50",
    "watched_run.py": r"step 40: loss [01]\.\d+, '[ a-z.]{24}'\n40 steps, to the end\n$",
}


def run(command: list[str | Path], folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, str]]:
    """The folder that a script ran in, once, and what it printed."""

    @cache
    def script_ran(name: str) -> tuple[Path, str]:
        folder = tmp_path_factory.mktemp(Path(name).stem)
        return folder, run([EXAMPLES / name], folder)

    return script_ran


@pytest.mark.parametrize("name", [path.name for path in SCRIPTS])
def test_an_example_runs_and_prints(ran: Any, name: str) -> None:
    assert re.search(PRINTED[name], ran(name)[1])


def test_a_saved_model_writes_on_the_command_line(ran: Any) -> None:
    folder, _ = ran("own_training_loop.py")
    generate = ["-m", "proxylm", "generate", "my-model", "--prompt", "the cat "]
    written = run([*generate, "--max-new-bytes", "32"], folder)
    assert re.search(r"^[ a-z.]{32}$", written.strip("\n"))


def test_own_compressors_go_to_workers_by_several_shards(ran: Any) -> None:
    folder, _ = ran("own_compressor.py")
    assert len(list((folder / "views" / "runs").glob("runs-*.arrow"))) > 1


def test_there_are_examples() -> None:
    assert len(SCRIPTS) >= 8
    assert {path.name for path in SCRIPTS} >= set(SHORT)


@pytest.mark.parametrize("name", SHORT)
def test_the_first_programs_are_short(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) - 1 <= MAX_LINES, "beside the line that says what it is"
