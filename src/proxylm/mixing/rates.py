"""Appendix A as functions: calibrated rates with pairs, samples per step, whole schedules.

"Samples per step" is always relative to a raw-byte model that sees the same number of symbols per
step. ``rho`` is the compressor's rate: bytes per symbol. The formulas count content alone;
``mixing.prediction`` adds special symbols, cuts and padding for a loader with a given context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewShares:
    """Probabilities of what a sample shows, float64, of the shape of the rates they come from."""

    compressed: NDArray[np.float64]
    pair: NDArray[np.float64]
    raw: NDArray[np.float64]


def view_shares(rate: Any, has_pairs: Any) -> ViewShares:
    """What samples show so that a fraction ``rate`` of all views shown is compressed.

    Without pairs a sample is compressed with probability r. With pairs (method, section 3): if
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
