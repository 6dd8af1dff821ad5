"""The contract of the rules that cut documents into segments.

A rule is a configuration with its own fields. Those with thresholds are *fitted* once, on a sample
of training documents, and carry the thresholds from then on. A fitted rule makes a ``Segmenter``.
A rule is read as a setting before any work, so torch and numba come in where it fits and cuts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from proxylm.compressors.neural.coder.contract import CodedSegments
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.config import Config
from proxylm.progress import TellCount, untold

if TYPE_CHECKING:
    from proxylm.compressors.neural.byte_lm.model import ByteLM
    from proxylm.compressors.neural.coder.automaton import Automaton

Percentile = Annotated[float, Field(gt=0, lt=100)]


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """Segments of documents.

    Attributes:
        lengths: uint32 ``[s]``, 1 to ``MAX_SEGMENT_BYTES`` bytes each.
        coded: their symbols, where the rule finds them on the way.
    """

    lengths: NDArray[np.uint32]
    coded: CodedSegments | None = None


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """What thresholds are fitted on.

    Attributes:
        sample: training documents.
        lm: the compressor's byte LM.
        automaton: of its coder; None where the windows do not enumerate.
        progress: hears how many bytes of the sample are read.
    """

    sample: FlatDocuments
    lm: ByteLM
    automaton: Automaton | None
    progress: TellCount = untold


class Segmenter(ABC):
    """Cuts documents; a document's cuts depend on nothing but its bytes."""

    @abstractmethod
    def cut(self, documents: FlatDocuments) -> Cuts:
        """The segments of all documents, in order."""


class SegmentationRule(Config):
    """Base of the rules."""

    def fitted(self, on: Fitting) -> Self:
        """The rule with the thresholds of a sample; without thresholds, as it is.

        Raises:
            UsageError: the rule needs an automaton.
            DataError: the sample is too small.
        """
        return self

    @abstractmethod
    def segmenter(self, lm: ByteLM, automaton: Automaton | None) -> Segmenter:
        """The rule at work.

        Raises:
            UsageError: its thresholds were never fitted, or it needs an automaton.
        """


class SimpleRule(SegmentationRule, Segmenter):
    """Base of the rules that need nothing but the documents: they cut as they are."""

    def segmenter(self, lm: ByteLM, automaton: Automaton | None) -> Segmenter:
        """See the base class."""
        return self
