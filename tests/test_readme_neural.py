"""The README's neural compressor, word for word; and the commands of docs/neural.md exist."""

from __future__ import annotations

import re

import pytest

from documents import blocks, run_shell
from proxylm.cli.main import run


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_neural_section_works_word_for_word(tmp_path):
    (script,) = blocks("README.md", "sh", section="A neural compressor")
    output = run_shell(script, tmp_path)
    assert re.search(r"corpus\.bytes_per_symbol +[3-9]\.", output)
    assert "windows with symbol 0" in output
    assert (tmp_path / "views" / "neural" / "neural-00000.arrow").exists()


def test_every_command_of_the_page_has_its_options(capsys):
    (script,) = blocks("docs/neural.md", "sh", section="How to use it")
    lines = [line for line in script.splitlines() if line.startswith("proxylm ")]
    assert len(lines) >= 6
    for line in lines:
        words = line.split()[1:]
        stop = next(n for n, word in enumerate(words) if not word.isalpha())
        # The last word may be an argument, which help refuses to be a command.
        commands = [words[:count] for count in range(stop, 0, -1)]
        shown = next(text for one in commands if (text := help_of(one, capsys)))
        options = [word for word in words if word.startswith("--")]
        assert all(option in shown for option in options), line


def help_of(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    status = run([*command, "--help"])
    shown = capsys.readouterr().out
    return shown if status == 0 and "Example:" in shown else ""
