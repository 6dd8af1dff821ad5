"""Segments that are lines."""

from __future__ import annotations

from typing import Literal

import numpy as np

from proxylm.compressors.neural.byte_lm.model import ByteLM
from proxylm.compressors.neural.coder.automaton import Automaton
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.contract import Cuts, SegmentationRule, Segmenter

LINE_END = ord("\n")


class LineSegmentation(SegmentationRule):
    r"""Each line with its ``\n`` is a segment."""

    kind: Literal["lines"] = "lines"

    def segmenter(self, lm: ByteLM, automaton: Automaton | None) -> Segmenter:
        """See the base class; needs nothing."""
        return LineSegmenter()


class LineSegmenter(Segmenter):
    """Cuts after every line end."""

    def cut(self, documents: FlatDocuments) -> Cuts:
        """See the base class."""
        is_start = np.zeros(len(documents.raw), bool)
        is_start[1:] = documents.raw[:-1] == LINE_END
        return Cuts(lengths=documents.segment_lengths(is_start))
