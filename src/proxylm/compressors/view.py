"""The value that a compressor hands on: one document's symbols, and where both views can be cut."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt, UInt32


def no_anchors() -> UInt32[np.ndarray, "0 2"]:
    """The anchors of a view that cannot be cut inside a document: shape ``[0, 2]``."""
    return np.empty((0, 2), dtype=np.uint32)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedView:
    """One document's compressed form, as ``Compressor.encode`` gives it.

    >>> view = CompressedView(symbols=np.array([7, 7, 9], np.uint32))
    >>> view.symbols.tolist(), view.anchors.shape
    ([7, 7, 9], (0, 2))

    Attributes:
        symbols: uint32 ``[m]`` (or narrower), each below the compressor's ``symbol_count``.
        anchors: uint32 ``[a, 2]``, rows (byte offset, symbol offset), both strictly increasing
            and inside the document: ``raw[:byte]`` is what ``symbols[:symbol]`` stands for, so
            both views can be cut there. About every ``ANCHOR_SPACING`` symbols; none where the
            format cannot be cut (gzip).
        segment_lengths: uint32 ``[s]``, bytes per independently compressed segment, or None.
        segment_symbol_counts: uint32 ``[s]``, symbols of each of those segments, or None.
    """

    symbols: UInt[np.ndarray, " symbol"]
    anchors: UInt32[np.ndarray, "anchor 2"] = field(default_factory=no_anchors)
    segment_lengths: UInt32[np.ndarray, " segment"] | None = None
    segment_symbol_counts: UInt32[np.ndarray, " segment"] | None = None
