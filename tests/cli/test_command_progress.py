"""How far a command is: bars on a terminal, lines elsewhere, on stderr alone."""

from __future__ import annotations

import json
import os
import re
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxylm.cli import output
from proxylm.cli.main import run
from proxylm.cli.output import bars_or_lines
from proxylm.compressors.units import UnitsCompressor
from proxylm.progress import told

COLOUR = re.compile(r"\x1b\[[\d;]*(?<![\d])(3\d|4\d|9\d|38;[\d;]+)m")
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A pseudo terminal: the descriptor that a command writes to, and what it has written."""

    def __init__(self) -> None:
        self._ours, self.theirs = os.openpty()
        self._read = bytearray()
        self._reader = threading.Thread(target=self._collect)
        self._reader.start()

    def _collect(self) -> None:
        try:
            while data := os.read(self._ours, 1 << 16):
                self._read += data
        except OSError:  # nobody holds the other end any more
            pass

    def text(self) -> str:
        self._reader.join()
        os.close(self._ours)
        return self._read.decode()


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs a command whose stderr is a terminal; gives its status and what the terminal got."""

    def call(*arguments: str, **variables: str) -> tuple[int, str]:
        monkeypatch.delenv("NO_COLOR", raising=False)
        for name, value in ({"TERM": "xterm-256color"} | variables).items():
            monkeypatch.setenv(name, value)
        terminal = Terminal()
        before = termios.tcgetattr(terminal.theirs)
        with (
            os.fdopen(terminal.theirs, "w", encoding="utf-8") as stream,
            monkeypatch.context() as m,
        ):
            m.setattr(sys, "stderr", stream)
            status = run(arguments)
            assert termios.tcgetattr(terminal.theirs) == before
        return status, terminal.text()

    return call


@pytest.fixture
def compress(tmp_path: Path) -> list[str]:
    (tmp_path / "text").write_bytes(b"to be or not to be")
    return ["compress", "--compressor", "units:bits=4", "--json", str(tmp_path / "text")]


def test_a_terminal_gets_a_bar_and_stdout_the_result_alone(compress, on_terminal, capsys):
    status, shown = on_terminal(*compress)
    assert status == 0
    assert "compressing 18 bytes" in shown and COLOUR.search(shown)
    assert shown.rindex(HIDDEN) < shown.rindex(SHOWN)
    out = capsys.readouterr().out
    assert json.loads(out)["num_bytes"] == 18 and "\x1b" not in out


def test_no_color_is_respected(compress, on_terminal):
    _, shown = on_terminal(*compress, NO_COLOR="1")
    assert "compressing 18 bytes" in shown and not COLOUR.search(shown)


def test_a_dumb_terminal_gets_no_escapes(compress, on_terminal, monkeypatch):
    monkeypatch.setattr(output, "SECONDS_BEFORE_LINES", 0.0)
    _, shown = on_terminal(*compress, TERM="dumb")
    assert shown.splitlines()[0] == "compressing 18 bytes: 0 s so far"
    assert "\x1b" not in shown


def test_an_interrupt_gives_the_cursor_back(compress, on_terminal, monkeypatch, capsys):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(UnitsCompressor, "encode", interrupted)
    status, shown = on_terminal(*compress)
    assert status == 130
    assert shown.rindex(HIDDEN) < shown.rindex(SHOWN) < shown.index("proxylm: interrupted")
    assert capsys.readouterr().out == ""


def test_what_ends_soon_has_no_line(compress, capfd):
    assert run(compress) == 0
    assert capfd.readouterr().err == ""


@contextmanager
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A function that tells of bytes at a time; the lines' own thread sleeps."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(output, "SECONDS_BETWEEN_LOOKS", 60.0)
    with bars_or_lines("MB", 1e6) as show:

        def tell(seconds: float, name: str, done: int, total: int | None = 100) -> None:
            nonlocal now
            now = 100.0 + seconds
            show(name, done * 10**6, None if total is None else total * 10**6)

        yield tell


def test_lines_estimate_what_is_left(monkeypatch, capfd):
    with at(monkeypatch) as tell:
        for seconds, done in ((0, 20), (1, 30), (4, 40), (5, 45), (10, 60), (10.1, 100)):
            tell(seconds, "fill", done)
        tell(11, "soon over", 0)
        tell(11.1, "soon over", 100)
    assert capfd.readouterr().err.splitlines() == [
        "fill: 40.0 of 100.0 MB, about 12 s left",
        "fill: 60.0 of 100.0 MB, about 10 s left",
        "fill: 100.0 of 100.0 MB",
    ]


def test_what_begins_anew_is_estimated_anew(monkeypatch, capfd):
    with at(monkeypatch) as tell:
        for seconds, done in ((0, 0), (30, 100), (31, 0), (1831, 50)):
            tell(seconds, "fill", done)
    assert capfd.readouterr().err.splitlines() == [
        "fill: 100.0 of 100.0 MB",
        "fill: 50.0 of 100.0 MB, about 30 min left",
    ]


def test_without_a_total_there_is_no_estimate(monkeypatch, capfd):
    with at(monkeypatch) as tell:
        tell(3, "read", 7, None)
    assert capfd.readouterr().err == "read: 7.0 MB so far\n"


def test_a_stage_has_seconds_whatever_else_is_counted(monkeypatch, capfd):
    with at(monkeypatch) as tell:
        for seconds, total in ((0, None), (3, None), (5, 0)):
            tell(seconds, "opening", 0, total)
    assert capfd.readouterr().err.splitlines() == ["opening: 3 s so far", "opening: 5 s"]


def test_what_tells_nothing_for_long_is_told_of_all_the_same(monkeypatch, capfd):
    for name in ("SECONDS_BEFORE_LINES", "SECONDS_BETWEEN_LINES", "SECONDS_BETWEEN_LOOKS"):
        monkeypatch.setattr(output, name, 0.02)
    with bars_or_lines() as show:
        show("choosing", 0, None)
        lines = ""
        until = time.monotonic() + 60
        while lines.count("\n") < 2 and time.monotonic() < until:
            time.sleep(0.01)
            lines += capfd.readouterr().err
    assert lines.count("\n") >= 2
    assert all(re.fullmatch(r"choosing: \d+ s so far", line) for line in lines.splitlines())


def test_a_command_inside_another_adds_to_what_that_one_shows(monkeypatch, capfd):
    monkeypatch.setattr(output, "SECONDS_BEFORE_LINES", 0.0)
    monkeypatch.setattr(output, "SECONDS_BETWEEN_LINES", 0.0)
    with bars_or_lines() as outer:
        for _ in told("a", "checkpoints", outer):
            with bars_or_lines("MB", 1e6) as inner:
                inner("bytes scored", 2_000_000, None)
    assert capfd.readouterr().err.splitlines() == [
        "checkpoints: 0 of 1",
        "bytes scored: 2.0 MB so far",
        "checkpoints: 1 of 1",
    ]
