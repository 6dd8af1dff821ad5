"""Progress of a run on stderr: a bar with an estimate on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

ProgressReport = Callable[[Mapping[str, Any], int], None]
"""Called after every step with its metrics record and the number of steps of the run."""

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def reported_on_stderr() -> Iterator[ProgressReport]:
    """A progress report that suits what stderr is."""
    if sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield PlainLines()


class PlainLines:
    """One line every ``SECONDS_BETWEEN_LINES``, at the first step, and at the last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_at = clock()
        self._first_step: int | None = None
        self._last_line_at = float("-inf")

    def __call__(self, record: Mapping[str, Any], total_steps: int) -> None:
        """Report one step."""
        now, step = self._clock(), record["step"]
        if self._first_step is None:
            self._first_step = step - 1
        if now - self._last_line_at < SECONDS_BETWEEN_LINES and step != total_steps:
            return
        self._last_line_at = now
        left = (now - self._started_at) / (step - self._first_step) * (total_steps - step)
        line = f"step {step}/{total_steps}  {_summary(record)}  {_duration(left)} left"
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


@contextmanager
def _bar() -> Iterator[ProgressReport]:
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=None)
        started = False

        def report(record: Mapping[str, Any], total_steps: int) -> None:
            nonlocal started
            if not started:
                # Steps of earlier starts must not count towards the speed of this one.
                bar.reset(task, total=total_steps, completed=record["step"] - 1)
                started = True
            bar.update(task, completed=record["step"], description=_summary(record))

        yield report


def _summary(record: Mapping[str, Any]) -> str:
    parts = [f"loss {record['loss']:.3f}", f"{record['symbols_per_second']:,.0f} symbols/s"]
    held_out = record.get("held_out", {})
    parts += [f"{bits:.3f} bits per byte as {view}" for view, bits in held_out.items()]
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
