"""The paper's rule: a segment starts where information is dense, or rises (method, section 3).

A segment starts at byte ``i`` where ``h_i`` exceeds one threshold, or ``h_i - h_(i-1)`` another;
a document's first byte has no jump. The scores come from a float32 pass whose last bits depend on
what is computed together, so a byte within ``TIE_BITS`` of a threshold is decided by float64:
first many such bytes at once, and those that even then lie within ``EXACT_TIE_BITS`` each alone,
on one CPU thread. The cuts are therefore those of a float64 pass, whatever the batch, the number
of threads or workers, or the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.contract import (
    Cuts,
    Fitting,
    Percentile,
    SegmentationRule,
    Segmenter,
)
from proxylm.config import Config
from proxylm.errors import DataError, UsageError

if TYPE_CHECKING:
    from proxylm.compressors.neural.byte_lm.model import ByteLM
    from proxylm.compressors.neural.coder.automaton import Automaton
    from proxylm.compressors.neural.segmentation.boundary_pass import BoundaryPass, ScoringWindows

TIE_BITS = 2.0**-11
"""More than eight times the largest distance between float32 and float64 that was seen anywhere
(docs/log.md). A wider band gives the same cuts and costs more float64 passes."""

EXACT_TIE_BITS = 2.0**-30
"""Far above float64's noise (about 2^-46), far below what occurs by chance."""

THRESHOLD_STEPS_PER_BIT = 1024
"""Fitted thresholds are rounded to such fractions of a bit."""


class EntropyThresholds(Config):
    """Bits above which a byte starts a segment; both strict.

    Attributes:
        cross_entropy: of the byte itself.
        jump: of its difference to the byte before.
    """

    cross_entropy: float
    jump: float

    @classmethod
    def fit(cls, scores: NDArray[np.float32], documents: FlatDocuments, percentile: float) -> Self:
        """The percentile of all scores of a sample ``[n]``, and of all jumps in its documents.

        Raises:
            DataError: the sample has no jump.
        """
        jumps = np.delete(np.diff(scores, prepend=np.float32(0)), documents.first_bytes)
        if not len(jumps):
            raise DataError(
                "the sample for the thresholds has no document of two bytes; give more documents"
            )
        return cls(
            cross_entropy=_rounded_percentile(scores, percentile),
            jump=_rounded_percentile(jumps, percentile),
        )


def _rounded_percentile(values: NDArray[np.float32], percentile: float) -> float:
    exact = float(np.percentile(values.astype(np.float64), percentile))
    return round(exact * THRESHOLD_STEPS_PER_BIT) / THRESHOLD_STEPS_PER_BIT


class EntropySegmentation(SegmentationRule):
    """The rule of this module.

    Attributes:
        percentile: of a sample's cross-entropies, and of their differences, above which a
            segment starts; the paper's ablation is 98.
        overlap: bytes that a later scoring window of a long document reads before it scores.
        thresholds: what the percentiles were on the sample; None before they are fitted.
    """

    kind: Literal["entropy"] = "entropy"
    percentile: Percentile = 95.0
    overlap: Annotated[int, Field(ge=0)] = 16
    thresholds: EntropyThresholds | None = None

    def fitted(self, on: Fitting) -> Self:
        """See the base class."""
        scores = self._boundary_pass(on.lm).scores(on.sample, on.progress)
        thresholds = EntropyThresholds.fit(scores, on.sample, self.percentile)
        return self.model_copy(update={"thresholds": thresholds})

    def segmenter(self, lm: ByteLM, automaton: Automaton | None) -> Segmenter:
        """See the base class.

        Raises:
            UsageError: the thresholds are not fitted.
        """
        if self.thresholds is None:
            raise UsageError("segmentation entropy: its thresholds are not fitted; train it")
        return EntropySegmenter(self._boundary_pass(lm), self.thresholds)

    def _boundary_pass(self, lm: ByteLM) -> BoundaryPass:
        from proxylm.compressors.neural.segmentation.boundary_pass import BoundaryPass

        return BoundaryPass(lm, overlap=self.overlap)


class EntropySegmenter(Segmenter):
    """Cuts where scores say, near ties as float64 says.

    Args:
        boundary_pass: gives the scores.
        thresholds: fitted once, on a sample.
    """

    def __init__(self, boundary_pass: BoundaryPass, thresholds: EntropyThresholds) -> None:
        self._pass = boundary_pass
        self._thresholds = thresholds

    def cut(self, documents: FlatDocuments) -> Cuts:
        """See the base class."""
        return Cuts(lengths=documents.segment_lengths(self.starts(documents)))

    def starts(self, documents: FlatDocuments) -> NDArray[np.bool_]:
        """bool ``[n]``: where a segment starts (a document's first byte apart)."""
        if not len(documents.raw):
            return np.zeros(0, bool)
        scores = self._pass.scores(documents).astype(np.float64)
        above = _distance_above(scores, np.diff(scores, prepend=0.0), self._thresholds)
        above[documents.first_bytes] = -np.inf
        ties = np.flatnonzero(np.abs(above) < TIE_BITS)
        is_start = above > 0
        if len(ties):
            is_start[ties] = self._decide(ties, documents)
        return is_start

    def _decide(self, ties: NDArray[np.int64], documents: FlatDocuments) -> NDArray[np.bool_]:
        windows = self._pass.windows(documents)
        contexts = [_read_for(byte, windows, documents.raw) for byte in ties.tolist()]
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
        contexts: Sequence[Sequence[bytes]],
        bits_of_strings: Callable[[Sequence[bytes]], Sequence[NDArray[np.float64]]],
    ) -> NDArray[np.float64]:
        # Repetitive documents hold the same few strings many times.
        strings = list({string for context in contexts for string in context})
        bits = dict(zip(strings, bits_of_strings(strings), strict=True))
        pairs = np.array([_last_two(context, bits) for context in contexts])
        return _distance_above(pairs[:, 1], pairs[:, 1] - pairs[:, 0], self._thresholds)


def _read_for(byte: int, windows: ScoringWindows, raw: NDArray[np.uint8]) -> list[bytes]:
    """What float64 has to read to score the byte before and a byte: one string, or one for each."""
    # The byte before may be scored by the window before, with another context.
    last_read = {windows.scoring(last): last for last in (byte - 1, byte)}
    return [raw[windows.starts[one] : last + 1].tobytes() for one, last in last_read.items()]


def _last_two(strings: Sequence[bytes], bits: dict[bytes, NDArray[np.float64]]) -> list[float]:
    """Scores of the byte before and of the byte, from what ``_read_for`` reads."""
    own = bits[strings[-1]]
    before = own[-2] if len(strings) == 1 else bits[strings[0]][-1]
    return [float(before), float(own[-1])]


def _distance_above(
    scores: NDArray[np.float64], jumps: NDArray[np.float64], thresholds: EntropyThresholds
) -> NDArray[np.float64]:
    """How far the criterion that is nearer to being met is above its threshold, in bits."""
    return np.maximum(scores - thresholds.cross_entropy, jumps - thresholds.jump)
