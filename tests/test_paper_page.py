"""docs/paper.md names runs that are shipped, all of them, and commands that there are."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from typing import Any

import typer

from documents import ROOT
from proxylm.cli.main import app
from proxylm.config_files import shipped_configs

PAGE = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
SPANS = re.findall(r"`([^`]+)`", PAGE)
NAMES = {span for span in SPANS if span.startswith("paper/") and span != "paper/"}


def test_every_run_that_is_named_is_shipped_and_every_one_is_named() -> None:
    shipped = [name for name in shipped_configs() if name.startswith("paper/")]
    assert [name for name in NAMES if not any(fnmatch(one, name) for one in shipped)] == []
    assert [one for one in shipped if not any(fnmatch(one, name) for name in NAMES)] == []


def test_every_command_that_is_named_is_there_with_its_options() -> None:
    spans = [span.split() for span in SPANS if span.startswith("proxylm ")]
    assert len(spans) > 20
    wrong = [" ".join(words) for words in spans if not is_there(words[1:])]
    assert wrong == []


def is_there(words: list[str]) -> bool:
    """Whether the words name commands, as far as they go, and options of theirs."""
    command: Any = typer.main.get_command(app)
    options: set[str] = set()
    for word in words:
        below = getattr(command, "commands", {})
        if below and word not in below:
            return False
        command = below.get(word, command)
        with command.make_context(word, [], resilient_parsing=True) as context:
            options |= {name for one in command.get_params(context) for name in one.opts}
        if word == "checkpoints":  # what follows the run is another evaluation's
            break
    given = {word for word in words if word.startswith("--")}
    return "checkpoints" in words or given <= options
