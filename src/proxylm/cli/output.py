"""What all commands share: results on stdout, everything else on stderr, one-line errors."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Self

import typer

from proxylm.errors import ProxylmError, UsageError, one_line
from proxylm.printable import printable
from proxylm.progress import TellCount, stderr_draws_bars

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")
]

SECONDS_BEFORE_LINES = 2.0
"""What takes no longer has no line of progress."""
SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_DRAWINGS = 0.05
SLOWEST_STEP_SECONDS = 600.0
"""Over so long the speed of what is done in steps is taken for an estimate."""
MISSING = "-"

Amount = Callable[[int, int | None], str]
"""What is done, and of how much, for reading."""

_collected: ContextVar[list[dict[str, Any]] | None] = ContextVar("_collected", default=None)
_display: ContextVar[Bars | Lines | None] = ContextVar("_display", default=None)


class ReaderLeftError(Exception):
    """Whoever read our stdout is gone (``| head``): there is nobody to tell anything more."""


def open_streams() -> None:
    """Make the standard streams fit for any text; once, before a command does anything.

    Raises:
        UsageError: stdout is closed.
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for good
    for stream in (sys.stdout, sys.stderr):
        # What the terminal's encoding lacks is shown as an escape.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_PrintableFormatter())
    if sys.stdout is None:
        raise UsageError("stdout is closed: send it to a file, or to /dev/null to do without")


def hold_descriptors() -> None:
    """Occupy the numbers of standard streams that are closed.

    The next file opened would get them, and with them what libraries print.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


@contextmanager
def stdout_errors() -> Iterator[None]:
    """Around every write to stdout: say what could not be written.

    Raises:
        ReaderLeftError: its reader is gone.
        ProxylmError: it cannot be written for another reason, a full disk for instance.
    """
    try:
        yield
    except BrokenPipeError:
        raise ReaderLeftError from None
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise ProxylmError(
            f"stdout: cannot be written ({reason}); what was printed is not whole"
        ) from None


def emit(result: dict[str, Any], *, as_json: bool, text: str) -> None:
    """Print a command's result: one JSON object, in ASCII for any terminal, or its readable form.

    Raises:
        ReaderLeftError, ProxylmError: as ``stdout_errors``.
    """
    if (collected := _collected.get()) is not None:
        collected.append(result)
        return
    shown = json.dumps(result, allow_nan=False) if as_json else printable(text.rstrip("\n"), "\n")
    with stdout_errors():
        sys.stdout.write(shown + "\n")
        sys.stdout.flush()


@contextmanager
def collected_results() -> Iterator[list[dict[str, Any]]]:
    """Within, what commands would print as their results is put into the list instead."""
    results: list[dict[str, Any]] = []
    token = _collected.set(results)
    try:
        yield results
    finally:
        _collected.reset(token)


def note(message: str) -> None:
    """Tell the user something that is not the result (progress, a warning): stderr."""
    sys.stderr.write(printable(message.rstrip("\n"), "\n") + "\n")
    sys.stderr.flush()


@contextmanager
def bars_or_lines(unit: str = "", size: float = 1) -> Iterator[TellCount]:
    """Shows on stderr how far a command is: bars on a terminal, ``Lines`` elsewhere.

    A command that another one calls adds to what that one shows.

    Args:
        unit: of what is counted, behind the numbers.
        size: how much of what is done makes one of it.
    """
    amount = partial(_amount, unit=unit, size=size)
    if (outer := _display.get()) is not None:
        yield partial(outer.tell, amount)
        return
    with Bars() if stderr_draws_bars() else Lines() as display:
        token = _display.set(display)
        try:
            yield partial(display.tell, amount)
        finally:
            _display.reset(token)


def byte_progress() -> AbstractContextManager[TellCount]:
    """``bars_or_lines`` of bytes."""
    return bars_or_lines("MB", 1e6)


def _amount(done: int, total: int | None, *, unit: str, size: float) -> str:
    if not (done or total):
        return ""
    numbers = [f"{one:,}" if size == 1 else f"{one / size:,.1f}" for one in (done, total or 0)]
    return f"{numbers[0] if total is None else ' of '.join(numbers)} {unit}".rstrip()


class Bars:
    """A bar for each name, with an estimate; gone when all is done."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        name, amount = (
            TextColumn(text, markup=False)
            for text in ("{task.description}", "{task.fields[amount]}")
        )
        self._bars = Progress(
            *(name, BarColumn(), amount, TimeRemainingColumn()),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,  # results never become part of what is drawn
            speed_estimate_period=SLOWEST_STEP_SECONDS,
        )
        self._tasks: dict[str, Any] = {}
        self._drawn_at: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def tell(self, amount: Amount, name: str, done: int, total: int | None) -> None:
        """Draw what is told; nothing before, so that a training can draw a bar of its own."""
        now = time.monotonic()
        if done != total and now - self._drawn_at.get(name, 0) < SECONDS_BETWEEN_DRAWINGS:
            return
        self._drawn_at[name] = now
        self._bars.start()
        shown: dict[str, Any] = {"total": total, "completed": done, "amount": amount(done, total)}
        task = self._tasks.get(name)
        if task is None:
            self._tasks[name] = self._bars.add_task(name, **shown)
        elif done < self._bars.tasks[task].completed:  # it begins anew
            self._bars.reset(task, **shown)
        else:
            self._bars.update(task, **shown)


@dataclass(kw_only=True)
class _Count:
    """What was told of one name last, and where and when it began."""

    name: str
    first: int
    started: float
    done: int
    total: int | None
    amount: Amount
    is_shown: bool = False

    @property
    def is_over(self) -> bool:
        return self.done == self.total

    @property
    def is_news(self) -> bool:
        """Whether a line says what none has said, though nothing was told since."""
        return not self.is_over and (self.total is None or not self.is_shown)

    def text(self, now: float) -> str:
        seconds = now - self.started
        if not self.total:
            shown = self.amount(self.done, self.total) if self.done else f"{seconds:.0f} s"
            return f"{self.name}: {shown}{' so far' if self.total is None else ''}"
        shown = f"{self.name}: {self.amount(self.done, self.total)}"
        if not self.first < self.done < self.total:
            return shown
        left = seconds * (self.total - self.done) / (self.done - self.first)
        return f"{shown}, about {_duration(left)} left"


class Lines:
    """Progress for logs: nothing of what ends soon, then a line at most every few seconds.

    A thread tells of what takes long and tells nothing itself.
    """

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}
        self._newest: _Count | None = None
        self._due = time.monotonic() + SECONDS_BEFORE_LINES
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def tell(self, amount: Amount, name: str, done: int, total: int | None) -> None:
        """Print a line if one is due, and at the end of what there was one of."""
        now = time.monotonic()
        with self._lock:
            count = self._counts.get(name)
            if count is None or done < count.done:
                count = _Count(
                    name=name, first=done, started=now, done=done, total=total, amount=amount
                )
                self._counts[name] = count
            was_over = count.is_over
            count.done, count.total, self._newest = done, total, count
            if now >= self._due or (count.is_over and count.is_shown and not was_over):
                self._show(count, now)

    def _watch(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            now = time.monotonic()
            with self._lock, suppress(OSError):
                count = self._newest
                if count and count.is_news and now >= self._due:
                    self._show(count, now)

    def _show(self, count: _Count, now: float) -> None:
        count.is_shown, self._due = True, now + SECONDS_BETWEEN_LINES
        note(count.text(now))


def _duration(seconds: float) -> str:
    """About how long, for reading.

    >>> _duration(95), _duration(600), _duration(9000)
    ('95 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def counts_text(counts: Mapping[str, int]) -> str:
    """Counts by reason, for reading.

    >>> counts_text({"unmatched": 2, "hidden": 1})
    '1 hidden, 2 unmatched'
    """
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))


def number(value: float | None, digits: int = 4) -> str:
    """A number of a table; a dash where there is none."""
    return MISSING if value is None else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """A share in percent, as the field writes pass@k."""
    return MISSING if value is None else f"{100 * value:.1f}"


def plain_value(value: Any) -> str:
    """Any value of a table, a float in four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(headers: list[str], rows: list[list[str]]) -> str:
    """Plain aligned columns; numbers (all but the first column) to the right."""
    shown = [[printable(cell) for cell in row] for row in rows]
    columns = list(zip(headers, *shown, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = [headers, ["-" * width for width in widths], *shown]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


class _PrintableFormatter(logging.Formatter):
    """Warnings of the library name files, too."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), "\n")
