from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer

from proxylm.cli import main as cli
from proxylm.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (DataError("a.jsonl:3: no field 'text'"), 1, "proxylm: a.jsonl:3: no field 'text'\n"),
        (UsageError("unknown key 'stepz'"), 2, "proxylm: unknown key 'stepz'\n"),
        (FileNotFoundError(2, "No such file or directory", "x"), 1, "proxylm: x: No such file"),
        (OSError(28, "No space left on device", "shard"), 1, "proxylm: shard: No space left"),
        (KeyboardInterrupt(), 130, "proxylm: interrupted; run again, commands that save their"),
    ],
)
def test_each_error_is_one_line_with_its_status(monkeypatch, capsys, error, status, line):
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)
    assert cli.run([]) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(line)
    assert output.err.count("\n") == 1


def test_our_own_mistakes_keep_their_traceback(monkeypatch):
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise AssertionError("ours")

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(AssertionError, match="ours"):
        cli.run([])


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["bench", "no-such"], ["bench", "loader", "--wrong"]]
)
def test_wrong_use_is_one_line_and_status_2(capsys, arguments):
    assert cli.run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("proxylm: No such ")
    assert error.count("\n") == 1


def test_help_answers_without_importing_torch():
    program = (
        "import sys; from proxylm.cli.main import run; status = run(['--help']);"
        "heavy = {'torch', 'numba', 'pyarrow', 'datatrove'} & set(sys.modules);"
        "sys.exit(f'{status} {heavy}' if status or heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "bench" in result.stdout


def command_paths(app: typer.Typer, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [
        (*prefix, command.name or command.callback.__name__.replace("_", "-"))
        for command in app.registered_commands
    ]
    for group in app.registered_groups:
        found += command_paths(group.typer_instance, (*prefix, group.name))
    return found


@pytest.mark.parametrize("path", command_paths(cli.app), ids=" ".join)
def test_every_command_shows_an_example(capsys, path):
    assert cli.run([*path, "--help"]) == 0
    assert "Example: proxylm" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("path", command_paths(cli.app), ids=" ".join)
def test_no_help_text_looks_like_markup(path):
    """What stands in brackets would be taken for a style's name, and left out."""
    command = typer.main.get_command(cli.app)
    for name in path:
        command = command.commands[name]
    texts = [command.help, *[getattr(one, "help", None) for one in command.params]]
    assert [text for text in texts if text and "[" in text] == []


def test_emit_prints_one_json_object(capsys):
    from proxylm.cli.output import emit

    emit({"text": "naïve"}, as_json=True, text="ignored")
    assert json.loads(capsys.readouterr().out) == {"text": "naïve"}
