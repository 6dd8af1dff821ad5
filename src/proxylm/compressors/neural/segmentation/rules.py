"""Rules that cut documents into segments; every segment is coded on its own (method, section 3).

A rule is a configuration with its own fields. Those with thresholds are *fitted* once, on a sample
of training documents, and carry the thresholds from then on. A fitted rule makes a ``Segmenter``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from proxylm.compressors.neural.byte_lm.model import ByteLM
from proxylm.compressors.neural.coder.automaton import Automaton
from proxylm.compressors.neural.coder.engine import CodedSegments
from proxylm.compressors.neural.coder.settings import MAX_SEGMENT_BYTES
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.automaton_cuts import AutomatonCutter, CutThresholds
from proxylm.compressors.neural.segmentation.automaton_cuts import (
    fit_thresholds as fit_cut_thresholds,
)
from proxylm.compressors.neural.segmentation.boundary_pass import BoundaryPass
from proxylm.compressors.neural.segmentation.entropy import BoundaryRule, Thresholds, fit_thresholds
from proxylm.config import Config
from proxylm.errors import UsageError

LINE_END = ord("\n")

Percentile = Annotated[float, Field(gt=0, lt=100)]


@dataclass(frozen=True, kw_only=True)
class SegmenterParts:
    """What rules may need to be fitted and applied.

    Attributes:
        lm: the byte LM.
        automaton: of the coder; None where its windows do not enumerate.
    """

    lm: ByteLM
    automaton: Automaton | None


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """Segments of documents.

    Attributes:
        lengths: uint32 ``[s]``, 1 to ``MAX_SEGMENT_BYTES`` bytes each.
        coded: their symbols, where the rule finds them on the way.
    """

    lengths: NDArray[np.uint32]
    coded: CodedSegments | None = None


class Segmenter(ABC):
    """Cuts documents; a document's cuts depend on nothing but its bytes."""

    @abstractmethod
    def cut(self, documents: FlatDocuments) -> Cuts:
        """The segments of all documents."""


class EntropySegmentation(Config):
    """The paper's rule: a segment starts where a byte's cross-entropy or its rise is high.

    Attributes:
        percentile: of a sample's cross-entropies (of the automaton: costs), and of their
            differences, above which a segment starts; the paper's ablation is 98.
        overlap: bytes that a later scoring window of a long document reads before it scores.
        thresholds: what the percentiles were on the sample; None before they are fitted.
    """

    kind: Literal["entropy"] = "entropy"
    percentile: Percentile = 95.0
    overlap: Annotated[int, Field(ge=0)] = 16
    thresholds: Thresholds | None = None

    def fitted(self, sample: FlatDocuments, parts: SegmenterParts) -> Self:
        """The rule with the thresholds of a sample."""
        scores = BoundaryPass(parts.lm, overlap=self.overlap).scores(sample)
        thresholds = fit_thresholds(scores, sample, self.percentile)
        return self.model_copy(update={"thresholds": thresholds})

    def segmenter(self, parts: SegmenterParts) -> Segmenter:
        """The rule at work.

        Raises:
            UsageError: its thresholds were never fitted.
        """
        if self.thresholds is None:
            raise UsageError("segmentation entropy: its thresholds are not fitted; train it")
        boundary_pass = BoundaryPass(parts.lm, overlap=self.overlap)
        return EntropySegmenter(BoundaryRule(boundary_pass, self.thresholds))


class FixedSegmentation(Config):
    """Segments of one length, counted from each document's start; the last may be shorter.

    Attributes:
        length: bytes of fixed segments.
    """

    kind: Literal["fixed"] = "fixed"
    length: Annotated[int, Field(ge=1, le=MAX_SEGMENT_BYTES)] = 16

    def fitted(self, sample: FlatDocuments, parts: SegmenterParts) -> Self:
        """Nothing is fitted."""
        return self

    def segmenter(self, parts: SegmenterParts) -> Segmenter:
        """The rule at work."""
        return FixedSegmenter(self.length)


class LineSegmentation(Config):
    r"""Each line with its ``\n`` is a segment."""

    kind: Literal["lines"] = "lines"

    def fitted(self, sample: FlatDocuments, parts: SegmenterParts) -> Self:
        """Nothing is fitted."""
        return self

    def segmenter(self, parts: SegmenterParts) -> Segmenter:
        """The rule at work."""
        return LineSegmenter()


class AutomatonSegmentation(Config):
    """The project's own rule: information is read from the automaton's nodes, without an LM pass.

    Attributes:
        percentile: of a sample's costs, and of their differences, above which a segment starts.
        thresholds: what the percentiles were on the sample; None before they are fitted.
    """

    kind: Literal["automaton"] = "automaton"
    percentile: Percentile = 95.0
    thresholds: CutThresholds | None = None

    def fitted(self, sample: FlatDocuments, parts: SegmenterParts) -> Self:
        """The rule with the thresholds of a sample."""
        documents = np.split(sample.raw, sample.ends[:-1])
        raws = [document.tobytes() for document in documents]
        thresholds = fit_cut_thresholds(_required(parts.automaton), raws, self.percentile)
        return self.model_copy(update={"thresholds": thresholds})

    def segmenter(self, parts: SegmenterParts) -> Segmenter:
        """The rule at work.

        Raises:
            UsageError: its thresholds were never fitted, or there is no automaton.
        """
        if self.thresholds is None:
            raise UsageError("segmentation automaton: its thresholds are not fitted; train it")
        return AutomatonSegmenter(AutomatonCutter(_required(parts.automaton), self.thresholds))


def _required(automaton: Automaton | None) -> Automaton:
    if automaton is None:
        raise UsageError(
            "segmentation automaton: the coder's windows are not enumerated; take window_bits 16"
        )
    return automaton


Segmentation = Annotated[
    EntropySegmentation | FixedSegmentation | LineSegmentation | AutomatonSegmentation,
    Field(discriminator="kind"),
]


class EntropySegmenter(Segmenter):
    """Cuts where a boundary rule says."""

    def __init__(self, rule: BoundaryRule) -> None:
        self._rule = rule

    def cut(self, documents: FlatDocuments) -> Cuts:
        """See the base class."""
        return Cuts(lengths=documents.segment_lengths(self._rule.starts(documents)))


class FixedSegmenter(Segmenter):
    """Cuts after every ``length`` bytes."""

    def __init__(self, length: int) -> None:
        self._length = length

    def cut(self, documents: FlatDocuments) -> Cuts:
        """See the base class."""
        place = np.arange(len(documents.raw)) - np.repeat(documents.starts, documents.lengths)
        return Cuts(lengths=documents.segment_lengths(place % self._length == 0))


class LineSegmenter(Segmenter):
    """Cuts after every line end."""

    def cut(self, documents: FlatDocuments) -> Cuts:
        """See the base class."""
        is_start = np.zeros(len(documents.raw), bool)
        is_start[1:] = documents.raw[:-1] == LINE_END
        return Cuts(lengths=documents.segment_lengths(is_start))


class AutomatonSegmenter(Segmenter):
    """Cuts, and codes in the same walk."""

    def __init__(self, cutter: AutomatonCutter) -> None:
        self._cutter = cutter

    def cut(self, documents: FlatDocuments) -> Cuts:
        """See the base class."""
        found = self._cutter.cut(documents.raw, documents.lengths.astype(np.uint32))
        return Cuts(lengths=found.segment_lengths, coded=found.coded)
