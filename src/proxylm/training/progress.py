"""Progress of a run on stderr: a bar with an estimate on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from proxylm.progress import TellCount, stderr_draws_bars
from proxylm.training.callbacks import Callback, Record

if TYPE_CHECKING:
    from proxylm.training.training_run import TrainingRun

SECONDS_BETWEEN_LINES = 10.0


def shown_on_stderr() -> Callback:
    """A callback that shows runs in the way that suits what stderr is."""
    return Bar() if stderr_draws_bars() else PlainLines()


class PlainLines(Callback):
    """One line every ``SECONDS_BETWEEN_LINES``, at the first step, and at the last."""

    def on_start(self, run: TrainingRun) -> None:
        """Start the clock; steps of earlier starts do not count towards the speed of this one."""
        self._started_at, self._steps_before = time.monotonic(), run.step
        self._last_line_at = float("-inf")

    def on_step(self, run: TrainingRun, record: Record) -> None:
        """Report one step."""
        now = time.monotonic()
        if now - self._last_line_at < SECONDS_BETWEEN_LINES and not run.finished:
            return
        self._last_line_at = now
        seconds_each = (now - self._started_at) / (run.step - self._steps_before)
        left = _duration(seconds_each * (run.total_steps - run.step))
        line = f"step {run.step}/{run.total_steps}  {_summary(record)}  {left} left"
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


class Bar(Callback):
    """A bar with the last step's numbers."""

    def on_start(self, run: TrainingRun) -> None:
        """Show it."""
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        self._task = self._bar.add_task("starting", total=run.total_steps, completed=run.step)
        self._bar.start()

    def on_step(self, run: TrainingRun, record: Record) -> None:
        """Report one step."""
        self._bar.update(self._task, completed=run.step, description=_summary(record))

    def on_end(self, run: TrainingRun) -> None:
        """Leave it as it is."""
        self._bar.stop()


class TellSteps(Callback):
    """Tells how many steps are done.

    Args:
        progress: hears of it.
    """

    def __init__(self, progress: TellCount) -> None:
        self._progress = progress

    def on_start(self, run: TrainingRun) -> None:
        """Tell where it starts."""
        self._progress("steps", run.step, run.total_steps)

    def on_step(self, run: TrainingRun, record: Record) -> None:
        """Tell of one step."""
        self._progress("steps", run.step, run.total_steps)


def _summary(record: Record) -> str:
    parts = [
        f"loss {record['loss']:.3f}",
        f"{record['symbols_per_second']:,.0f} symbols/s",
        f"{record['mfu']:.0%} MFU",
    ]
    held_out = record.get("held_out", {})
    parts += [f"{bits:.3f} bits per byte as {view}" for view, bits in held_out.items()]
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
