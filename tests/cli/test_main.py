from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import zlib
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
import typer
import yaml
from safetensors import SafetensorError

from proxylm.cli import main as cli
from proxylm.cli.output import emit, note, table
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


def commands(monkeypatch, act) -> None:
    """Make ``act`` the command ``deep act``."""
    app, group = typer.Typer(), typer.Typer()
    group.command("act")(act)
    app.add_typer(group, name="deep")
    app.callback()(lambda: None)
    group.callback()(lambda: None)
    monkeypatch.setattr(cli, "app", app)


def raise_it(error: BaseException):
    def act() -> None:
        raise error

    return act


FROM_OUTSIDE = [
    (OSError(28, "No space left on device"), "No space left on device"),
    (OSError("131072 requested and 8176 written"), "131072 requested and 8176 written"),
    (pa.ArrowInvalid("not Parquet\nat all"), "ArrowInvalid: not Parquet"),
    (SafetensorError("header too large"), "SafetensorError: header too large"),
    (yaml.YAMLError("a tab"), "YAMLError: a tab"),
    (zlib.error("incorrect check"), "error: incorrect check"),
    (json.JSONDecodeError("no value", "", 0), "JSONDecodeError: no value"),
    (BrokenProcessPool("a child ended"), "BrokenProcessPool: a child ended"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError: 'utf-8' codec"),
    (EOFError("ended early"), "EOFError: ended early"),
    (MemoryError(), "MemoryError"),
    (RecursionError("maximum recursion depth"), "RecursionError: maximum recursion"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"), "RuntimeError: DefaultCPU"),
]


@pytest.mark.parametrize(("error", "line"), FROM_OUTSIDE, ids=lambda one: type(one).__name__)
def test_errors_from_outside_are_one_line_that_says_what_was_under_way(
    monkeypatch, capsys, error, line
):
    commands(monkeypatch, raise_it(error))
    assert cli.run(["deep", "act"]) == 1
    error = capsys.readouterr().err.strip()  # typer adds an empty line to an EOFError
    assert error.startswith(f"proxylm: deep act: {line}")
    assert error.endswith("(PROXYLM_TRACEBACK=1 shows where)")
    assert "\n" not in error


def test_the_traceback_of_an_error_from_outside_can_be_asked_for(monkeypatch):
    commands(monkeypatch, raise_it(pa.ArrowInvalid("not Parquet")))
    monkeypatch.setenv("PROXYLM_TRACEBACK", "1")
    with pytest.raises(pa.ArrowInvalid):
        cli.run(["deep", "act"])


@pytest.mark.parametrize(
    "error", [AssertionError, TypeError, KeyError, IndexError, AttributeError, ValueError]
)
def test_our_own_mistakes_keep_their_traceback(monkeypatch, error):
    commands(monkeypatch, raise_it(error("ours")))
    with pytest.raises(error, match="ours"):
        cli.run(["deep", "act"])


def test_control_characters_reach_no_terminal(monkeypatch, capsys):
    name = "x\x1b[31m\x07\x9b  two\tcaf\udce9"
    shown = r"x\x1b[31m\x07\x9b  two\tcaf\xe9"

    def act() -> None:
        note(f"reading {name}")
        logging.getLogger("proxylm").warning("%s is damaged", name)
        emit({}, as_json=False, text=f"{name}\n" + table([""], [[f"{name}\n"]]))
        raise DataError(f"{name}: bad\n  here")

    commands(monkeypatch, act)
    monkeypatch.setattr(logging.getLogger("proxylm"), "propagate", False)
    assert cli.run(["deep", "act"]) == 1
    output = capsys.readouterr()
    assert output.out == f"{shown}\n\n{'-' * (len(shown) + 2)}\n{shown}\\n\n"
    assert output.err.splitlines() == [
        f"reading {shown}",
        f"{shown} is damaged",
        f"proxylm: {shown}: bad here",
    ]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "shift_jis", "utf-8"])
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_any_text_goes_to_a_stdout_of_any_encoding(monkeypatch, encoding, as_json):
    text = "naïve ☃ 😀 ∎ caf\udce9"
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    commands(monkeypatch, lambda: emit({"text": text}, as_json=as_json, text=text))
    assert cli.run(["deep", "act"]) == 0
    shown = written.getvalue().decode(encoding)
    if as_json:
        assert json.loads(shown) == {"text": text}
    else:
        assert ("\\u2603" in shown) != ("☃" in shown)
        assert shown.endswith("caf\\xe9\n")


@pytest.mark.parametrize("arguments", [["--help"], ["prepare", "--help"], ["rates", "--help"]])
def test_help_goes_to_a_stdout_in_ascii(monkeypatch, arguments):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert cli.run(arguments) == 0
    sys.stdout.flush()
    assert b"Usage: " in written.getvalue()


def test_a_closed_stdout_is_refused_before_anything_is_done(monkeypatch, capsys):
    commands(monkeypatch, raise_it(AssertionError("reached")))
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.run(["deep", "act"]) == 2
    assert capsys.readouterr().err == (
        "proxylm: stdout is closed: send it to a file, or to /dev/null to do without\n"
    )


def test_a_closed_stderr_costs_nothing_but_what_it_would_have_said(monkeypatch, capsys):
    def act() -> None:
        note("on the way")
        emit({}, as_json=False, text="result")

    commands(monkeypatch, act)
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.run(["deep", "act"]) == 0
    assert capsys.readouterr().out == "result\n"


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "arguments",
    [
        ["rates", "--rho", "3.4", "--rate", "0.9"],
        ["compress", "--compressor", "gzip", __file__, "--json"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_a_full_stdout_is_one_line(monkeypatch, capsys, arguments):
    with suppress(OSError), FULL.open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.run(arguments) == 1
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert error.count("\n") == 1


def test_a_process_without_its_streams_ends_as_it_should(tmp_path):
    """The real thing: descriptors closed, so that the next file opened would get their numbers."""
    program = "import sys; from proxylm.cli.main import main; main()"
    command = [sys.executable, "-c", program, "compress", "--compressor", "gzip", "-"]
    for closed, status, line in [
        ((1,), 2, b"proxylm: stdout is closed"),
        ((0,), 2, b"proxylm: -: standard input is closed"),
        ((0, 1, 2), 2, b""),
    ]:
        done = subprocess.run(
            command,
            stderr=subprocess.PIPE,
            preexec_fn=lambda closed=closed: [os.close(number) for number in closed],
        )
        assert done.returncode == status
        assert done.stderr.startswith(line)
        assert done.stderr.count(b"\n") == bool(line)


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["bench", "no-such"], ["bench", "loader", "--wrong"]]
)
def test_wrong_use_is_one_line_and_status_2(capsys, arguments):
    assert cli.run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("proxylm: No such ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "heavy"),
    [
        ([], "torch numba pyarrow datatrove pydantic numpy"),
        (["generate"], "torch numba pyarrow datatrove"),
        (["serve"], "torch numba pyarrow datatrove numpy"),
        (["evaluate", "humaneval"], "torch numba pyarrow datatrove numpy"),
        (["prepare"], "torch numba pyarrow datatrove numpy"),
        (["compressor", "train", "neural"], "torch numba pyarrow datatrove"),
        (["demo"], "torch numba pyarrow datatrove tokenizers"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_help_answers_without_importing_torch(command, heavy):
    program = (
        f"import sys; from proxylm.cli.main import run; status = run([*{command}, '--help']);"
        f"heavy = set('{heavy}'.split()) & set(sys.modules);"
        "sys.exit(f'{status} {heavy}' if status or heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Usage: " in result.stdout


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


@pytest.mark.parametrize(
    ("path", "headings"),
    [
        ([], ["Data", "Training", "A trained model", "The method", "This machine"]),
        (["generate"], ["Sampling", "Reading"]),
        (["plan"], ["Machines", "Data without a store"]),
        (["compressor", "train", "neural"], ["Segmentation", "Coder"]),
    ],
)
def test_help_lists_in_groups(capsys, path, headings):
    assert cli.run([*path, "--help"]) == 0
    shown = re.findall(r"^\W+(\w[\w ]*?) ─+\W*$", capsys.readouterr().out, re.M)
    assert set(headings) <= set(shown)


@pytest.mark.parametrize("path", command_paths(cli.app), ids=" ".join)
def test_no_help_text_looks_like_markup(path):
    """What stands in brackets would be taken for a style's name, and left out."""
    command = typer.main.get_command(cli.app)
    for name in path:
        command = command.commands[name]
    parameters = command.get_params(command.make_context("", [], resilient_parsing=True))
    texts = [command.help, *[getattr(one, "help", None) for one in parameters]]
    assert [text for text in texts if text and "[" in text] == []


def test_emit_prints_one_json_object(capsys):
    emit({"text": "naïve"}, as_json=True, text="ignored")
    assert json.loads(capsys.readouterr().out) == {"text": "naïve"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, None)],
)
def test_waiting_threads_sleep_soon_unless_something_is_set(
    given: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # put back afterwards, whatever is set meanwhile
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cli, "hold_descriptors", lambda: None)
    monkeypatch.setattr(cli, "run", lambda: seen.append(os.environ.get("GOMP_SPINCOUNT")))
    with pytest.raises(SystemExit):
        cli.main()
    assert seen == [expected]


def test_the_first_garbage_collection_waits_for_the_imports_and_the_next_do_not():
    # In a process of its own: here other threads collect, too.
    program = (
        "import gc\n"
        "from proxylm.cli import main\n"
        "usual = gc.get_threshold()\n"
        "main._collect_after_imports()\n"
        "assert gc.get_threshold() == (main._OBJECTS_OF_IMPORTS, *usual[1:])\n"
        "gc.collect()\n"
        "assert gc.get_threshold() == usual\n"
        "assert gc.get_freeze_count() > 0\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
