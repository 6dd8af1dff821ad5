"""Segments of a fixed length, whatever is in them."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from proxylm.compressors.neural.byte_lm.model import ByteLM
from proxylm.compressors.neural.coder.automaton import Automaton
from proxylm.compressors.neural.coder.settings import MAX_SEGMENT_BYTES
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.contract import Cuts, SegmentationRule, Segmenter


class FixedSegmentation(SegmentationRule):
    """Segments of so many bytes, counted from each document's start; the last may be shorter."""

    kind: Literal["fixed"] = "fixed"
    length: Annotated[int, Field(ge=1, le=MAX_SEGMENT_BYTES)] = 16

    def segmenter(self, lm: ByteLM, automaton: Automaton | None) -> Segmenter:
        """See the base class; needs nothing."""
        return FixedSegmenter(self.length)


class FixedSegmenter(Segmenter):
    """Cuts after every ``length`` bytes."""

    def __init__(self, length: int) -> None:
        self._length = length

    def cut(self, documents: FlatDocuments) -> Cuts:
        """See the base class."""
        place = np.arange(len(documents.raw)) - np.repeat(documents.starts, documents.lengths)
        return Cuts(lengths=documents.segment_lengths(place % self._length == 0))
