"""What every benchmark prints: rows of a measured value beside its own yardstick.

A yardstick is a limit or a reference measured in the same run (a memory copy, the library's
fastest call, a matrix product), so that results survive a noisy machine as ratios.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from proxylm.progress import TellCount, told


@dataclass(frozen=True)
class BenchmarkRow:
    """One measured case. ``unit`` is a base unit (bytes/s, symbols/s, FLOP/s, bytes).

    ``ratio`` says how good ours is beside the yardstick; higher is always better.
    """

    case: str
    value: float
    unit: str
    yardstick: float
    yardstick_is: str
    lower_is_better: bool = False

    @classmethod
    def of_rates(
        cls, case: str, amount: float, unit: str, seconds: Sequence[float], yardstick_is: str
    ) -> BenchmarkRow:
        """The same amount of work in the seconds of ours and in those of the yardstick."""
        value, yardstick = (amount / one for one in seconds)
        return cls(case, value, unit, yardstick, yardstick_is)

    @property
    def ratio(self) -> float:
        """Ours over the yardstick, or the inverse where lower values are better."""
        if self.lower_is_better:
            return self.yardstick / self.value
        return self.value / self.yardstick

    def to_json(self) -> dict[str, Any]:
        """The row in the form of the benchmark output format."""
        row = asdict(self)
        del row["lower_is_better"]
        return row | {"ratio": self.ratio}


def rows_of(
    cases: Sequence[Callable[[], Sequence[BenchmarkRow]]], progress: TellCount
) -> list[BenchmarkRow]:
    """The rows of cases that are measured one after the other; ``progress`` counts the cases."""
    return [row for case in told(cases, "cases", progress) for row in case()]


def alternate(
    *actions: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, ...]:
    """Median seconds of actions run in turn, so that drift of the machine hits all of them.

    Each runs once before anything counts (compilation, caches). ``time.process_time`` as the
    clock counts what all threads of this process compute, for rates per core.
    """
    timings: list[list[float]] = [[] for _ in actions]
    for repeat in range(repeats + 1):
        for action, seconds in zip(actions, timings, strict=True):
            start = clock()
            action()
            if repeat:
                seconds.append(clock() - start)
    return tuple(map(median, timings))
