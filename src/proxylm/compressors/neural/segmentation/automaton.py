"""Segments without an LM pass (the project's own rule): information read from automaton nodes.

The method cuts where the byte LM, given the whole document, is surprised. Here the automaton is,
given what the window holds. A document is walked byte by byte. At byte ``x_i`` the walk stands at
the node of what was read since the last reset (a document's start, a cut, a window's end), with
frequencies ``f``. The *cost* ``h_i = min(255, round(16 · (16 − log2 f(x_i))))`` is an integer: its
unit is 1/16 bit. A segment starts at ``i > 0`` where

    h_i > t_cost   or   h_i − h_{i−1} > t_jump   or   the segment already has 1024 bytes,

both strict. Then ``x_i`` is read at the root; where it does not fit the window, likewise, without
a cut. The walk is at the root only at a document's first byte, where nothing is decided. The walk
that cuts is the walk that codes, so symbols come with the cuts.

``plain_cuts`` is this paragraph as it reads; ``automaton_walks`` has its fast forms, and what
measures and cuts with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.neural.coder.automaton import ROOT, Automaton
from proxylm.compressors.neural.coder.frequencies import TOTAL, TOTAL_BITS
from proxylm.compressors.neural.coder.settings import MAX_SEGMENT_BYTES
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.contract import (
    Fitting,
    Percentile,
    SegmentationRule,
    Segmenter,
)
from proxylm.config import Config
from proxylm.errors import DataError, UsageError

if TYPE_CHECKING:
    from proxylm.compressors.neural.byte_lm.model import ByteLM

COST_UNITS_PER_BIT = 16
MAX_COST = 255
"""The highest cost: nearly 16 bits, and what fits in a byte."""

COSTS = np.zeros(TOTAL + 1, np.uint8)
"""The cost of each frequency, in 1/16 bit; no frequency is 0."""
_INFORMATION = COST_UNITS_PER_BIT * (TOTAL_BITS - np.log2(np.arange(1, TOTAL + 1)))
COSTS[1:] = np.minimum(MAX_COST, np.rint(_INFORMATION))

FIT_ROUNDS = 4


class AutomatonThresholds(Config):
    """Limits in 1/16 bit; a byte that goes beyond one starts a segment."""

    cost: int
    jump: int

    @classmethod
    def fit(cls, automaton: Automaton, sample: FlatDocuments, percentile: float) -> Self:
        """The percentile of the costs of a sample, and of their jumps inside its documents.

        Costs depend on the cuts, which restart windows: they are first measured without cuts,
        then again with the thresholds found, ``FIT_ROUNDS`` times in all.

        Raises:
            DataError: the sample has fewer than two bytes in all.
        """
        from proxylm.compressors.neural.segmentation.automaton_walks import measured_costs

        if len(sample.raw) < 2:
            raise DataError("the sample for the thresholds is empty; give more documents")
        thresholds = cls(cost=MAX_COST, jump=MAX_COST)  # which no byte goes beyond
        for _ in range(FIT_ROUNDS):
            costs = measured_costs(automaton, sample, thresholds)
            jumps = np.delete(np.diff(costs, prepend=0), sample.first_bytes)
            cost, jump = (_percentile(values, percentile) for values in (costs, jumps))
            thresholds = cls(cost=cost, jump=jump)
        return thresholds


def _percentile(values: NDArray[np.int32], percentile: float) -> int:
    if not len(values):
        return MAX_COST
    return int(np.percentile(values, percentile, method="inverted_cdf"))


def plain_cuts(
    automaton: Automaton, document: bytes, thresholds: AutomatonThresholds
) -> tuple[list[int], list[int]]:
    """The rule as it is defined: a document's segment lengths, and the cost of each byte."""
    node, start = ROOT, 0
    lengths: list[int] = []
    costs: list[int] = []
    for position, byte in enumerate(document):
        costs.append(int(COSTS[automaton.frequencies_at(node)[byte]]))
        is_surprise = node != ROOT and (
            costs[-1] > thresholds.cost or costs[-1] - costs[-2] > thresholds.jump
        )
        if is_surprise or position - start == MAX_SEGMENT_BYTES:
            lengths.append(position - start)
            node, start = ROOT, position
        node = automaton.children.get((node, byte), automaton.children[ROOT, byte])
    return lengths + [len(document) - start] * bool(document), costs


class AutomatonSegmentation(SegmentationRule):
    """The rule of this module.

    Attributes:
        percentile: of a sample's costs, and of their differences, above which a segment starts.
        thresholds: what the percentiles were on the sample; None before they are fitted.
    """

    kind: Literal["automaton"] = "automaton"
    percentile: Percentile = 95.0
    thresholds: AutomatonThresholds | None = None

    def fitted(self, on: Fitting) -> Self:
        """See the base class."""
        thresholds = AutomatonThresholds.fit(_required(on.automaton), on.sample, self.percentile)
        return self.model_copy(update={"thresholds": thresholds})

    def segmenter(self, lm: ByteLM, automaton: Automaton | None) -> Segmenter:
        """See the base class.

        Raises:
            UsageError: the thresholds are not fitted, or there is no automaton.
        """
        if self.thresholds is None:
            raise UsageError("segmentation automaton: its thresholds are not fitted; train it")
        from proxylm.compressors.neural.segmentation.automaton_walks import AutomatonSegmenter

        return AutomatonSegmenter(_required(automaton), self.thresholds)


def _required(automaton: Automaton | None) -> Automaton:
    if automaton is None:
        raise UsageError(
            "segmentation automaton: the coder's windows are not enumerated; take window_bits 16"
        )
    return automaton
