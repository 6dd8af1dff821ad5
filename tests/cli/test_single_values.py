"""An option of one value is given once, in every command; lists and flags may be repeated."""

from __future__ import annotations

import pytest
import typer

from proxylm.cli import main as cli
from proxylm.cli.options import DeferredCommand


@pytest.mark.parametrize(
    "arguments",
    [
        ["prepare", "--corpus", "a", "--corpus", "b", "--out", "s"],
        ["prepare", "--corpus", "a", "--out", "s", "--pattern=*.py", "--pattern", "*.md"],
        ["prepare", "--corpus", "a", "--out", "s", "--out", "t"],
        ["compressor", "train", "tokenizer", "--corpus", "a", "--corpus=b", "--out", "t"],
        ["compressor", "train", "neural", "--corpus", "a", "--corpus", "a", "--out", "t"],
        ["compressor", "info", "gzip", "--corpus", "a", "--corpus", "b"],
        ["evaluate", "bpb", "run", "--store", "a", "--store", "b"],
        ["generate", "run", "--prompt", "a", "--prompt", "b"],
        ["demo", "--corpus", "a", "--corpus", "b"],
    ],
)
def test_a_second_value_is_refused_and_not_preferred(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) == 2
    error = capsys.readouterr().err
    assert error.endswith(": given twice; it takes one value\n")
    assert error.startswith("proxylm: --") and error.count("\n") == 1


def test_lists_and_flags_may_be_repeated(capsys):
    views = ["--compressor", "gzip", "--compressor", "nothing"]
    assert cli.run(["prepare", *views, "--json", "--json", "--out", "s"]) == 2
    assert "nothing: no such folder or file" in capsys.readouterr().err


def test_no_command_is_missed():
    def leaves(command):
        inner = getattr(command, "commands", None)
        return (
            [command] if inner is None else [leaf for one in inner.values() for leaf in leaves(one)]
        )

    commands = leaves(typer.main.get_command(cli.app))
    assert len(commands) > 25
    assert {type(command) for command in commands} == {DeferredCommand}
