"""Where segments start: information that is dense, or rises (method, section 3).

A segment starts at byte ``i`` where ``h_i`` exceeds one threshold, or ``h_i - h_(i-1)`` another;
a document's first byte has no jump. The scores come from a float32 pass whose last bits depend on
what is computed together, so a byte within ``TIE_BITS`` of a threshold is decided by float64:
first many such bytes at once, and those that even then lie within ``EXACT_TIE_BITS`` each alone,
on one CPU thread. The cuts are therefore those of a float64 pass, whatever the batch, the number
of threads or workers, or the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.boundary_pass import BoundaryPass, ScoringWindows
from proxylm.config import Config

TIE_BITS = 2.0**-11
"""More than eight times the largest distance between float32 and float64 that was seen anywhere
(docs/log.md). A wider band gives the same cuts and costs more float64 passes."""

EXACT_TIE_BITS = 2.0**-30
"""Far above float64's noise (about 2^-46), far below what occurs by chance."""

THRESHOLD_STEPS_PER_BIT = 1024
"""Fitted thresholds are rounded to such fractions of a bit."""


class Thresholds(Config):
    """Bits above which a byte starts a segment; both strict.

    Attributes:
        cross_entropy: of the byte itself.
        jump: of its difference to the byte before.
    """

    cross_entropy: float
    jump: float


def fit_thresholds(
    scores: NDArray[np.float32], documents: FlatDocuments, percentile: float
) -> Thresholds:
    """The percentile of all scores of a sample, and of all jumps inside its documents."""
    jumps = np.delete(np.diff(scores, prepend=np.float32(0)), documents.first_bytes)
    return Thresholds(
        cross_entropy=_rounded_percentile(scores, percentile),
        jump=_rounded_percentile(jumps, percentile),
    )


def _rounded_percentile(values: NDArray[np.float32], percentile: float) -> float:
    exact = float(np.percentile(values.astype(np.float64), percentile))
    return round(exact * THRESHOLD_STEPS_PER_BIT) / THRESHOLD_STEPS_PER_BIT


class BoundaryRule:
    """Finds segment starts in documents.

    Args:
        boundary_pass: gives the scores.
        thresholds: fitted once, on a sample.
        tie_bits: how close to a threshold float64 decides.
    """

    def __init__(
        self, boundary_pass: BoundaryPass, thresholds: Thresholds, *, tie_bits: float = TIE_BITS
    ) -> None:
        self._pass = boundary_pass
        self._thresholds = thresholds
        self._tie_bits = tie_bits

    def starts(self, documents: FlatDocuments) -> NDArray[np.bool_]:
        """bool ``[n]``: where a segment starts (a document's first byte apart)."""
        if not len(documents.raw):
            return np.zeros(0, bool)
        scores = self._pass.scores(documents).astype(np.float64)
        above = _distance_above(scores, np.diff(scores, prepend=0.0), self._thresholds)
        above[documents.first_bytes] = -np.inf
        ties = np.flatnonzero(np.abs(above) < self._tie_bits)
        is_start = above > 0
        if len(ties):
            is_start[ties] = self._decide(ties, documents)
        return is_start

    def _decide(self, ties: NDArray[np.int64], documents: FlatDocuments) -> NDArray[np.bool_]:
        windows = self._pass.windows(documents)
        contexts = [_Context.of(byte, windows, documents.raw) for byte in ties.tolist()]
        lm = self._pass.lm
        above = self._exactly(contexts, lm.exact_bits)
        for index in np.flatnonzero(np.abs(above) < EXACT_TIE_BITS).tolist():
            above[index : index + 1] = self._exactly(
                contexts[index : index + 1],
                lambda strings: [lm.canonical_bits(string) for string in strings],
            )
        return above > 0

    def _exactly(
        self,
        contexts: Sequence[_Context],
        bits_of_strings: Callable[[Sequence[bytes]], Sequence[NDArray[np.float64]]],
    ) -> NDArray[np.float64]:
        # Repetitive documents hold the same few strings many times.
        strings = list({string for context in contexts for string in context.strings})
        bits = dict(zip(strings, bits_of_strings(strings), strict=True))
        pairs = np.array([context.scores(bits) for context in contexts])
        return _distance_above(pairs[:, 1], pairs[:, 1] - pairs[:, 0], self._thresholds)


class _Context:
    """What float64 has to read to decide one byte: its window up to it, and perhaps one more."""

    def __init__(self, own: bytes, before: bytes | None) -> None:
        self._own = own
        self._before = before

    @classmethod
    def of(cls, byte: int, windows: ScoringWindows, raw: NDArray[np.uint8]) -> _Context:
        def read_up_to(last: int) -> tuple[int, bytes]:
            window = windows.scoring(last)
            return window, raw[windows.starts[window] : last + 1].tobytes()

        window, own = read_up_to(byte)
        # The byte before may be scored by the window before, with another context.
        window_before, before = read_up_to(byte - 1)
        return cls(own, None if window_before == window else before)

    @property
    def strings(self) -> list[bytes]:
        return [self._own] if self._before is None else [self._own, self._before]

    def scores(self, bits: dict[bytes, NDArray[np.float64]]) -> tuple[float, float]:
        """Of the byte before, and of the byte."""
        own = bits[self._own]
        before = own[-2] if self._before is None else bits[self._before][-1]
        return float(before), float(own[-1])


def _distance_above(
    scores: NDArray[np.float64], jumps: NDArray[np.float64], thresholds: Thresholds
) -> NDArray[np.float64]:
    """How far the criterion that is nearer to being met is above its threshold, in bits."""
    return np.maximum(scores - thresholds.cross_entropy, jumps - thresholds.jump)
