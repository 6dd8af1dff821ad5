"""Anchors of formats made of tokens: places where both views of a document can be cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import ANCHOR_SPACING
from proxylm.compressors.view import no_anchors


def anchors_of_tokens(num_bytes: NDArray[np.signedinteger], num_symbols: int) -> NDArray[np.uint32]:
    """Anchors about every ``ANCHOR_SPACING`` symbols where every token has as many symbols.

    Args:
        num_bytes: ``[t]``, bytes of each token.
        num_symbols: symbols of each token.

    Returns:
        uint32 ``[a, 2]``, rows (byte offset, symbol offset) inside the document.
    """
    step = max(1, ANCHOR_SPACING // num_symbols)
    tokens = np.arange(step, len(num_bytes), step)
    if not len(tokens):
        return no_anchors()
    between = np.add.reduceat(num_bytes[: tokens[-1]], tokens - step, dtype=np.int64)
    return _rows(np.cumsum(between), tokens * num_symbols)


def anchors_of_uneven_tokens(
    num_bytes: NDArray[np.signedinteger], num_symbols: NDArray[np.signedinteger]
) -> NDArray[np.uint32]:
    """The same where token ``i`` has ``num_symbols[i]`` symbols: the first end past each step."""
    # Anchors are uint32, so no sum is larger; twice the width would take twice the memory.
    symbol_ends = np.cumsum(num_symbols, dtype=np.uint32)
    if not len(symbol_ends):
        return no_anchors()
    wanted = np.arange(ANCHOR_SPACING, int(symbol_ends[-1]), ANCHOR_SPACING, dtype=np.uint32)
    tokens = np.unique(np.searchsorted(symbol_ends, wanted))
    tokens = tokens[tokens < len(symbol_ends) - 1]
    return _rows(np.cumsum(num_bytes, dtype=np.uint32)[tokens], symbol_ends[tokens])


def _rows(
    byte_offsets: NDArray[np.integer], symbol_offsets: NDArray[np.integer]
) -> NDArray[np.uint32]:
    return np.stack((byte_offsets, symbol_offsets), axis=1).astype(np.uint32)
