"""The README's step-by-step part, word for word, in a folder that looks like a fresh clone."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from documents import ROOT, blocks, run_shell

SECTION = "Step by step, on your own files"


@pytest.mark.timeout(600)
def test_the_steps_work_word_for_word(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for script in blocks("README.md", "sh", section=SECTION):
        run_shell(script, tmp_path)
    assert (tmp_path / "report.html").exists()
    (program,) = blocks("README.md", "python", section=SECTION)
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    completion, bits, symbols = result.stdout.splitlines()
    assert completion.startswith("b")
    # Better than a guess among all 2368 symbols is all that so short a run promises.
    assert 0 < float(bits.strip("[]")) < 11.2
    assert symbols.startswith("2048 [array(")


def test_the_two_commands_are_the_makefiles():
    makefile = (ROOT / "Makefile").read_text()
    commands = blocks("README.md", "sh", section="Two commands")[0]
    for line in commands.splitlines():
        assert f"\n{line.split()[1]}: " in makefile, line
