"""What all commands share: results on stdout, everything else on stderr, one-line errors."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import typer

from proxylm.errors import ProxylmError, UsageError, one_line
from proxylm.printable import printable

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")
]

SECONDS_BETWEEN_LINES = 2.0
MISSING = "-"


_collected: ContextVar[list[dict[str, Any]] | None] = ContextVar("_collected", default=None)


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
def bars(*columns: Any) -> Iterator[Callable[[str, int, int | None], None]]:
    """A function of names, what is done and the total, shown on a terminal's stderr as bars.

    Args:
        columns: of ``rich.progress``; its own unless given.
    """
    from rich.console import Console
    from rich.progress import Progress

    console, tasks = Console(stderr=True), {}
    is_shown = sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=not is_shown) as progress:

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done, total=total)

        yield show


@contextmanager
def bars_or_lines(
    lines: LineProgress, *columns: Any
) -> Iterator[Callable[[str, int, int | None], None]]:
    """``bars`` on a terminal, ``lines`` elsewhere."""
    if not sys.stderr.isatty():
        yield lines
        return
    with bars(*columns) as show:
        yield show


@contextmanager
def byte_progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """``bars_or_lines`` of bytes, with their speed and an estimate."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    ends = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    columns = (TextColumn("{task.description}"), BarColumn(), *ends)
    with bars_or_lines(LineProgress("MB", 1e6), *columns) as show:
        yield show


class LineProgress:
    """Progress for logs: a line at the start, then at most one every few seconds.

    Args:
        unit: what is counted.
        size: how much of what is done makes one of it.
    """

    def __init__(self, unit: str, size: float = 1) -> None:
        self._unit, self._size = unit, size
        self._first: dict[str, tuple[float, int]] = {}
        self._last = float("-inf")

    def __call__(self, name: str, done: int, total: int | None) -> None:
        """Print a line if one is due."""
        assert total is not None, "without a total there is no estimate"
        now = time.monotonic()
        started, at_first = self._first.setdefault(name, (now, done))
        if now - self._last < SECONDS_BETWEEN_LINES and done < total:
            return
        self._last = now
        left = ""
        if at_first < done < total:
            seconds = (now - started) * (total - done) / (done - at_first)
            left = f", about {seconds:.0f} s left"
        note(f"{name}: {self._shown(done)} of {self._shown(total)} {self._unit}{left}")

    def _shown(self, amount: int) -> str:
        return f"{amount:,}" if self._size == 1 else f"{amount / self._size:,.1f}"


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
