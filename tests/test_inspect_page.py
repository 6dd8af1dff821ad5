"""docs/inspect.md: its pictures are there and small, its command takes the options shown."""

from __future__ import annotations

import re
import shlex

from documents import ROOT, blocks
from proxylm.cli.main import run

PAGE = (ROOT / "docs" / "inspect.md").read_text(encoding="utf-8")
MOST_BYTES = 150_000


def test_pictures_are_there_described_and_small():
    named = re.findall(
        r"!\[[^]]+\]\((pictures/[^)]+)\)|<img src=\"(pictures/[^\"]+)\"[^>]* alt=", PAGE
    )
    pictures = {one or other for one, other in named}
    assert pictures == {
        f"pictures/{path.name}" for path in (ROOT / "docs/pictures").glob("inspect-*")
    }
    assert all((ROOT / "docs" / name).stat().st_size <= MOST_BYTES for name in pictures)


def test_the_command_has_the_options_of_the_page(capsys):
    (script,) = blocks("docs/inspect.md", "sh", section="Start it")
    words = shlex.split(script)
    assert words[:2] == ["proxylm", "inspect"]
    assert run(["inspect", "--help"]) == 0
    told = capsys.readouterr().out
    assert all(word in told for word in words if word.startswith("--"))
