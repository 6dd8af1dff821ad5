"""Stores made of lengths alone: enough to plan a mixture, before there is any data to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import ANCHOR_SPACING


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthsColumn:
    """A column whose rows have lengths; ``values`` holds content only for anchors."""

    values: NDArray[Any]
    offsets: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthsView:
    """A compressed view of made-up lengths, with anchors."""

    symbol_lengths: NDArray[np.int64]
    columns: list[LengthsColumn]
    anchor_columns: list[LengthsColumn]


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthsStore:
    """Documents of made-up lengths, none held out."""

    raw_lengths: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    raw_columns: list[LengthsColumn]


def lengths_store(
    num_bytes: NDArray[np.int64], *, rho: float, anchor_spacing: int = ANCHOR_SPACING
) -> tuple[LengthsStore, LengthsView]:
    """A store of documents of those lengths and its view.

    Args:
        num_bytes: int64 ``[n]``, bytes per document, at least 1 each.
        rho: bytes per symbol, the same everywhere.
        anchor_spacing: symbols between anchors.
    """
    num_symbols = np.maximum(1, np.round(num_bytes / rho)).astype(np.int64)
    counts = (num_symbols - 1) // anchor_spacing
    anchor_offsets = _offsets(counts)
    number = np.arange(anchor_offsets[-1]) - np.repeat(anchor_offsets[:-1], counts)
    symbol = (number + 1) * anchor_spacing
    byte = symbol * np.repeat(num_bytes, counts) // np.repeat(num_symbols, counts)
    anchors = np.stack([byte, symbol], axis=1).astype(np.uint32)
    store = LengthsStore(
        raw_lengths=num_bytes.astype(np.int64),
        held_out=np.zeros(len(num_bytes), bool),
        raw_columns=[LengthsColumn(values=np.empty(0, np.uint8), offsets=_offsets(num_bytes))],
    )
    view = LengthsView(
        symbol_lengths=num_symbols,
        columns=[LengthsColumn(values=np.empty(0, np.uint16), offsets=_offsets(num_symbols))],
        anchor_columns=[LengthsColumn(values=anchors, offsets=anchor_offsets)],
    )
    return store, view


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
