"""The code benchmarks by name; adding one is one line here and its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from proxylm.errors import UsageError
from proxylm.evaluation.benchmarks import humaneval, mbpp, plus
from proxylm.evaluation.benchmarks.problem import Benchmark


def _load_mbpp(path: Path | None) -> Benchmark:
    if path is None:
        raise UsageError("MBPP comes with no package: give its file with --data (mbpp.jsonl)")
    return mbpp.load_mbpp(path)


BENCHMARKS: dict[str, Callable[[Path | None], Benchmark]] = {
    humaneval.NAME: humaneval.load_humaneval,
    plus.HUMANEVAL_PLUS: plus.load_humaneval_plus,
    mbpp.NAME: _load_mbpp,
    plus.MBPP_PLUS: plus.load_mbpp_plus,
}


def load_benchmark(name: str, path: Path | None = None) -> Benchmark:
    """A benchmark by name, from a file of the user's or from where it is found without one.

    Raises:
        UsageError: there is no such benchmark, or it cannot be found without a file.
        DataError: its file cannot be read.
    """
    if name not in BENCHMARKS:
        raise UsageError(f"no benchmark '{name}'; there are: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name](path)
