"""Anchors of formats made of tokens: places where both views of a document can be cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import ANCHOR_SPACING, no_anchors


def anchors_of_tokens(num_bytes: NDArray[np.int64], num_symbols: int) -> NDArray[np.uint32]:
    """Anchors about every ``ANCHOR_SPACING`` symbols where every token has as many symbols.

    Args:
        num_bytes: ``[t]``, bytes of each token.
        num_symbols: symbols of each token.

    Returns:
        uint32 ``[a, 2]``, rows (byte offset, symbol offset) inside the document.
    """
    step = max(1, ANCHOR_SPACING // num_symbols)
    tokens = np.arange(step, len(num_bytes), step)
    ends = np.cumsum(num_bytes)
    return _rows(ends[tokens - 1], tokens * num_symbols)


def anchors_of_uneven_tokens(
    num_bytes: NDArray[np.int64], num_symbols: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """The same where token ``i`` has ``num_symbols[i]`` symbols: the first end past each step."""
    symbol_ends = np.cumsum(num_symbols)
    if not len(symbol_ends):
        return no_anchors()
    wanted = np.arange(ANCHOR_SPACING, symbol_ends[-1], ANCHOR_SPACING)
    tokens = np.unique(np.searchsorted(symbol_ends, wanted))
    tokens = tokens[tokens < len(symbol_ends) - 1]
    return _rows(np.cumsum(num_bytes)[tokens], symbol_ends[tokens])


def _rows(byte_offsets: NDArray[np.int64], symbol_offsets: NDArray[np.int64]) -> NDArray[np.uint32]:
    return np.stack((byte_offsets, symbol_offsets), axis=1).astype(np.uint32)
