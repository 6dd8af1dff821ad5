"""The code benchmarks by name; adding one is one line here and its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from proxylm.errors import DataNotAtHandError
from proxylm.evaluation.benchmarks import humaneval, mbpp, plus
from proxylm.evaluation.benchmarks.problem import Benchmark

BENCHMARKS: dict[str, Callable[[Path | None], Benchmark]] = {
    humaneval.NAME: humaneval.load_humaneval,
    plus.HUMANEVAL_PLUS: plus.load_humaneval_plus,
    mbpp.NAME: mbpp.load_mbpp,
    plus.MBPP_PLUS: plus.load_mbpp_plus,
}


def load_benchmark(name: str, path: Path | None = None, *, option: str = "--data") -> Benchmark:
    """A benchmark by name, from a file of the user's or from where it is found without one.

    Args:
        name: one of ``BENCHMARKS``.
        path: its file.
        option: how the user gives that file, for the message.

    Raises:
        DataNotAtHandError: it cannot be found without a file.
        DataError: its file cannot be read.
    """
    try:
        return BENCHMARKS[name](path)
    except DataNotAtHandError as error:
        raise DataNotAtHandError(f"{error}: give its file with {option}") from None
