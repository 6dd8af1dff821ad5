"""Stores made of lengths alone: enough to plan a mixture, before there is any data to show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import ANCHOR_SPACING
from proxylm.data.memory import MemoryStore
from proxylm.data.store.column import Column
from proxylm.data.store.contents import View
from proxylm.fingerprint import fingerprint_of

LENGTHS_VIEW = "lengths"
"""Name of the one compressed view of such a store."""


def lengths_store(num_bytes: NDArray[np.int64], *, rho: float) -> MemoryStore:
    """Documents of those lengths, none held out, and a view of them, without any content.

    Its columns say where rows would start and hold nothing but anchors, so ``Batches`` over it
    count what a mixture shows and refuse to show it.

    Args:
        num_bytes: int64 ``[n]``, bytes per document, at least 1 each.
        rho: bytes per symbol, the same everywhere.
    """
    # Step by step in place: of a hundred million documents, each array takes 800 MB.
    symbols = num_bytes / rho
    np.round(symbols, out=symbols)
    num_symbols = np.maximum(1, symbols, out=symbols).astype(np.int64)
    del symbols
    counts = (num_symbols - 1) // ANCHOR_SPACING
    anchor_offsets = _offsets(counts)
    number = np.arange(anchor_offsets[-1]) - np.repeat(anchor_offsets[:-1], counts)
    symbol = (number + 1) * ANCHOR_SPACING
    byte = symbol * np.repeat(num_bytes, counts) // np.repeat(num_symbols, counts)
    anchors = np.stack([byte, symbol], axis=1).astype(np.uint32)
    view = View(
        name=LENGTHS_VIEW,
        symbol_count=1,
        compressor_fingerprint=LENGTHS_VIEW,
        reversible=False,
        columns=[Column(values=np.empty(0, np.uint16), offsets=_offsets(num_symbols))],
        anchor_columns=[Column(values=anchors, offsets=anchor_offsets)],
    )
    return _LengthsStore(
        fingerprint=fingerprint_of(num_bytes.astype("<i8").tobytes(), rho, ANCHOR_SPACING),
        ids=(),
        raw_columns=[Column(values=np.empty(0, np.uint8), offsets=_offsets(num_bytes))],
        held_out=np.zeros(len(num_bytes), bool),
        views={LENGTHS_VIEW: view},
    )


def exponential_lengths(mean: float, count: int) -> NDArray[np.int64]:
    """Lengths of documents, int64 ``[count]``, spread as an exponential distribution of that mean.

    They are its quantiles, and rise: nothing is drawn.
    """
    shares = (np.arange(count) + 0.5) / count
    return np.maximum(1, np.round(-mean * np.log1p(-shares))).astype(np.int64)


class _LengthsStore(MemoryStore):
    """Documents without names: those of a hundred million would take more than their lengths."""

    def document_id(self, ordinal: int) -> str:
        """Its number."""
        return f"document {ordinal}"


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
