"""pass@k: the chance that one of k samples is right, estimated without bias from n >= k samples.

For one problem with ``c`` right samples among ``n``: ``1 - C(n - c, k) / C(n, k)``, the share of
all choices of ``k`` samples that hold a right one (docs/evaluation.md, "pass@k"). A benchmark's
pass@k is the mean over its problems.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import comb

from proxylm.errors import DataError, UsageError


def hit_probability(samples: int, hits: int, k: int) -> Fraction:
    """``1 - C(n - c, k) / C(n, k)``, exactly.

    >>> hit_probability(20, 3, 10)
    Fraction(17, 19)

    Raises:
        UsageError: ``k`` is not between 1 and the number of samples.
    """
    if not 1 <= k <= samples:
        raise UsageError(f"pass@{k}: k must be between 1 and the {samples} samples per problem")
    assert 0 <= hits <= samples
    return 1 - Fraction(comb(samples - hits, k), comb(samples, k))


def mean(values: Sequence[Fraction]) -> float:
    """The mean over problems, computed exactly and rounded once.

    Raises:
        DataError: there is no problem.
    """
    if not values:
        raise DataError("no problem to take a mean over: nothing was selected")
    return float(sum(values, Fraction(0)) / len(values))


def pass_at_k(correct: Sequence[Sequence[bool]], k: int) -> float:
    """Mean over problems of the chance that one of ``k`` samples is right.

    Args:
        correct: per problem, whether each of its samples is right; numbers of samples may differ.
        k: samples that may be tried.

    Raises:
        UsageError: a problem has fewer than ``k`` samples.
        DataError: there is no problem.
    """
    return mean([hit_probability(len(row), sum(row), k) for row in correct])
