"""The rules without thresholds: segments of a fixed length, and lines."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from proxylm.compressors.neural.coder.settings import MAX_SEGMENT_BYTES
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.contract import Cuts, SimpleRule

LINE_END = ord("\n")


class FixedSegmentation(SimpleRule):
    """Segments of one length, counted from each document's start; the last may be shorter.

    Attributes:
        length: bytes of fixed segments.
    """

    kind: Literal["fixed"] = "fixed"
    length: Annotated[int, Field(ge=1, le=MAX_SEGMENT_BYTES)] = 16

    def cut(self, documents: FlatDocuments) -> Cuts:
        """See the base class."""
        place = np.arange(len(documents.raw)) - np.repeat(documents.starts, documents.lengths)
        return Cuts(lengths=documents.segment_lengths(place % self.length == 0))


class LineSegmentation(SimpleRule):
    r"""Each line with its ``\n`` is a segment."""

    kind: Literal["lines"] = "lines"

    def cut(self, documents: FlatDocuments) -> Cuts:
        """See the base class."""
        is_start = np.zeros(len(documents.raw), bool)
        is_start[1:] = documents.raw[:-1] == LINE_END
        return Cuts(lengths=documents.segment_lengths(is_start))
