"""Many documents as one array of bytes: the form in which they are scored, cut and coded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8, UInt32

from proxylm.compressors.neural.coder.settings import MAX_SEGMENT_BYTES


def starts_of(lengths: Integer[np.ndarray, " run"]) -> Int64[np.ndarray, " border"]:
    """Where each of ``n`` runs starts, and where the last one ends: int64 ``[n + 1]``."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


@dataclass(frozen=True, kw_only=True)
class FlatDocuments:
    """Documents one after the other.

    Attributes:
        raw: uint8 ``[n]``.
        lengths: int64 ``[d]``, bytes of each document; they sum to ``n``.

    Raises:
        ValueError: the lengths do not add up.
    """

    raw: UInt8[np.ndarray, " byte"]
    lengths: Int64[np.ndarray, " document"]

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
    def ends(self) -> Int64[np.ndarray, " document"]:
        """Where each document ends."""
        return np.cumsum(self.lengths)

    @cached_property
    def starts(self) -> Int64[np.ndarray, " document"]:
        """Where each document starts."""
        return self.ends - self.lengths

    @property
    def filled_ends(self) -> Int64[np.ndarray, " filled"]:
        """Where the documents that are not empty end."""
        return self.ends[self.lengths > 0]

    @property
    def first_bytes(self) -> Int64[np.ndarray, " filled"]:
        """Where the documents that are not empty start."""
        return self.starts[self.lengths > 0]

    def segment_lengths(
        self, is_start: Bool[np.ndarray, " byte"]
    ) -> UInt32[np.ndarray, " segment"]:
        """Lengths of the segments that start at ``is_start`` and at every document.

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

    def segments_per_document(
        self, segment_lengths: UInt32[np.ndarray, " segment"]
    ) -> Int64[np.ndarray, " document"]:
        """How many of the segments each document has."""
        segment_ends = np.cumsum(segment_lengths, dtype=np.int64)
        upto = np.searchsorted(segment_ends, self.ends, side="right")
        return np.diff(upto, prepend=0)
