"""Many documents as one array of bytes: the form in which they are scored, cut and coded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.neural.coder.settings import MAX_SEGMENT_BYTES


@dataclass(frozen=True, kw_only=True)
class FlatDocuments:
    """Documents one after the other.

    Attributes:
        raw: uint8 ``[n]``.
        lengths: int64 ``[d]``, bytes of each document; they sum to ``n``.

    Raises:
        ValueError: the lengths do not add up.
    """

    raw: NDArray[np.uint8]
    lengths: NDArray[np.int64]

    def __post_init__(self) -> None:
        if int(self.lengths.sum()) != len(self.raw):
            raise ValueError(f"document lengths do not add up to {len(self.raw)} bytes")

    @classmethod
    def of(cls, documents: Sequence[bytes]) -> FlatDocuments:
        """Join documents."""
        return cls(
            raw=np.frombuffer(b"".join(documents), np.uint8),
            lengths=np.array([len(document) for document in documents], np.int64),
        )

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """int64 ``[d]``: where each document ends."""
        return np.cumsum(self.lengths)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """int64 ``[d]``: where each document starts."""
        return self.ends - self.lengths

    @property
    def filled_ends(self) -> NDArray[np.int64]:
        """int64 ``[<= d]``: where the documents that are not empty end."""
        return self.ends[self.lengths > 0]

    @property
    def first_bytes(self) -> NDArray[np.int64]:
        """int64 ``[<= d]``: where the documents that are not empty start."""
        return self.starts[self.lengths > 0]

    def segment_lengths(self, is_start: NDArray[np.bool_]) -> NDArray[np.uint32]:
        """Lengths of the segments that start at ``is_start`` ``[n]`` and at every document.

        Those above ``MAX_SEGMENT_BYTES`` are cut into pieces of that length and a last one.
        """
        is_start[self.first_bytes] = True
        starts = np.flatnonzero(is_start)
        lengths = np.diff(starts, append=len(self.raw))
        if not (lengths > MAX_SEGMENT_BYTES).any():
            return lengths.astype(np.uint32)
        pieces = -(-lengths // MAX_SEGMENT_BYTES)
        cut = np.full(int(pieces.sum()), MAX_SEGMENT_BYTES, np.uint32)
        cut[np.cumsum(pieces) - 1] = lengths - MAX_SEGMENT_BYTES * (pieces - 1)
        return cut

    def segments_per_document(self, segment_lengths: NDArray[np.uint32]) -> NDArray[np.int64]:
        """int64 ``[d]``: how many of the segments ``[s]`` each document has."""
        segment_ends = np.cumsum(segment_lengths, dtype=np.int64)
        upto = np.searchsorted(segment_ends, self.ends, side="right")
        return np.diff(upto, prepend=0)
