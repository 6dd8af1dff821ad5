"""Appendix A as functions: calibrated rates with pairs, samples per step, whole schedules.

"Samples per step" is always relative to a raw-byte model that sees the same number of symbols per
step. ``rho`` is the compressor's rate: bytes per symbol. The formulas count content alone;
``data.prediction`` adds special symbols, cuts and padding for contexts of a given length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.data.mixture import Mixture
from proxylm.data.mixture_numbers import mixture_numbers

_TINY = 1e-7
"""Below this, ``1 - 1/rho`` counts as 0: the general formulas divide by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewShares:
    """Probabilities of what a sample shows, float64, of the shape of the rates they come from."""

    compressed: NDArray[np.float64]
    pair: NDArray[np.float64]
    raw: NDArray[np.float64]


def view_shares(rate: Any, has_pairs: Any) -> ViewShares:
    """What samples show so that a fraction ``rate`` of all views shown is compressed.

    Without pairs a sample is compressed with probability r. With pairs (method, section 4): if
    r >= 1/2, with probability r' = 2 - 1/r a compressed-only sample, else a pair; if r < 1/2, with
    probability r' = r / (1 - r) a pair, else a raw-only sample.

    >>> float(view_shares(0.9, True).compressed.round(4))
    0.8889
    >>> float(view_shares(0.4, True).pair.round(4))
    0.6667
    """
    rate, has_pairs = np.broadcast_arrays(np.asarray(rate, np.float64), has_pairs)
    high = rate >= 0.5
    with_high = 2.0 - 1.0 / np.where(high, rate, 1.0)
    with_low = rate / (1.0 - np.where(high, 0.0, rate))
    compressed = np.where(has_pairs, np.where(high, with_high, 0.0), rate)
    pair = np.where(has_pairs, np.where(high, 1.0 - with_high, with_low), 0.0)
    return ViewShares(compressed=compressed, pair=pair, raw=1.0 - compressed - pair)


def samples_per_step(rho: float, rate: Any, has_pairs: Any) -> NDArray[np.float64]:
    """Samples in a step, relative to a raw-byte model's: raw length / mean length of a sample.

    Without pairs this is ``1 / (1 - r + r / rho)``; with pairs ``1 / (1/rho + 1/r - 1)`` for
    r >= 1/2 and ``1 / (1 + (r / (1 - r)) / rho)`` for r < 1/2 (appendix A).

    >>> float(samples_per_step(3.7, 0.9, False).round(3))
    2.913
    >>> float(samples_per_step(3.7, 0.9, True).round(3))
    2.622
    """
    shares = view_shares(rate, has_pairs)
    return 1.0 / (shares.raw + shares.compressed / rho + shares.pair * (1.0 + 1.0 / rho))


def mean_over_warm_up(rho: float, start: float, end: float, *, has_pairs: bool) -> float:
    """Mean of ``samples_per_step`` while the rate rises linearly from ``start`` to ``end``.

    The closed form of the integral over the rate; a step sees the same mean in the limit of many.

    >>> round(mean_over_warm_up(3.7, 0.4, 0.9, has_pairs=True), 3)
    1.379
    """
    if start == end:
        return float(samples_per_step(rho, start, has_pairs))
    if not has_pairs:
        total = _integral_single(rho, end) - _integral_single(rho, start)
    else:
        low = min(max(start, 0.0), 0.5), min(max(end, 0.0), 0.5)
        high = max(start, 0.5), max(end, 0.5)
        total = _integral_pairs_low(rho, low[1]) - _integral_pairs_low(rho, low[0])
        total += _integral_pairs_high(rho, high[1]) - _integral_pairs_high(rho, high[0])
    return total / (end - start)


def _integral_single(rho: float, rate: float) -> float:
    """Antiderivative of 1 / (1 - c r), c = 1 - 1/rho."""
    c = 1.0 - 1.0 / rho
    return rate if abs(c) < _TINY else -math.log1p(-c * rate) / c


def _integral_pairs_high(rho: float, rate: float) -> float:
    """Antiderivative of r / (1 - c r): samples per step with pairs, r >= 1/2."""
    c = 1.0 - 1.0 / rho
    if abs(c) < _TINY:
        return rate * rate / 2.0
    return (_integral_single(rho, rate) - rate) / c


def _integral_pairs_low(rho: float, rate: float) -> float:
    """Antiderivative of (1 - r) / (1 - c r): samples per step with pairs, r < 1/2."""
    return _integral_single(rho, rate) - _integral_pairs_high(rho, rate)


def mean_over_steps(rho: float, mixture: Mixture, total_steps: int) -> float:
    """Mean of ``samples_per_step`` over all steps of a schedule (documents, not pieces).

    Raises:
        UsageError: an object of the mixture gives numbers that cannot be.

    >>> round(mean_over_steps(3.7, Mixture.paper(), 50_000), 3)
    2.606
    """
    numbers = mixture_numbers(mixture, total_steps)
    return float(samples_per_step(rho, numbers.rates, numbers.has_pairs).mean())
