"""What the kernels read of the stores: training documents' lengths and the columns' addresses.

``source_tables`` flattens any number of stores and shards into a few arrays, which is all that
compiled code has to know; the ``Tables`` value keeps the memory maps behind the addresses alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from proxylm.mixing.compiled import compiled
from proxylm.mixing.pointers import int64_at, uint32_at

DOCUMENT_DTYPE = np.dtype([("ordinal", "i8"), ("num_bytes", "i8"), ("num_symbols", "i8")])
"""One training document: its ordinal in its store and the lengths of its two views."""


class ColumnLike(Protocol):
    """A shard's column: all rows' values, and where each row starts."""

    @property
    def values(self) -> NDArray[Any]: ...  # noqa: D102

    @property
    def offsets(self) -> NDArray[np.int64]: ...  # noqa: D102


class ViewLike(Protocol):
    """What mixing reads of one compressed view of a store."""

    symbol_lengths: NDArray[np.int64]

    @property
    def columns(self) -> Sequence[ColumnLike]: ...  # noqa: D102

    @property
    def anchor_columns(self) -> Sequence[ColumnLike]: ...  # noqa: D102


class StoreLike(Protocol):
    """What mixing reads of a view store: ``views.store.ViewStore``, or made-up lengths."""

    raw_lengths: NDArray[np.int64]
    held_out: NDArray[np.bool_]

    @property
    def raw_columns(self) -> Sequence[ColumnLike]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class _Column:
    values: NDArray[Any]
    offsets: NDArray[np.int64]


_NO_COLUMN = _Column(np.empty(0, np.uint16), np.zeros(1, np.int64))


class Shards(NamedTuple):
    """Columns of all shards of all sources, as addresses (int64).

    Attributes:
        first_shard: ``[sources + 1]``; shards of source ``s`` are ``first_shard[s]`` up to
            ``first_shard[s + 1]``.
        first_ordinal: ``[shards]``, ordinal of each shard's first document in its store.
        raw_values, raw_offsets: of the raw bytes (uint8) and their rows (int64).
        symbol_values, symbol_offsets, symbol_width: of the view's symbols, of 2 or 4 bytes each.
        anchor_values, anchor_offsets: of its anchors (uint32 pairs) and their rows.
    """

    first_shard: NDArray[np.int64]
    first_ordinal: NDArray[np.int64]
    raw_values: NDArray[np.int64]
    raw_offsets: NDArray[np.int64]
    symbol_values: NDArray[np.int64]
    symbol_offsets: NDArray[np.int64]
    symbol_width: NDArray[np.int64]
    anchor_values: NDArray[np.int64]
    anchor_offsets: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Everything that planning and copying read of the sources.

    Attributes:
        documents: training documents of all sources, one after the other (``DOCUMENT_DTYPE``).
        first_document: int64 ``[sources + 1]``, where each source's documents start.
        shards: addresses of the columns.
        keep_alive: the arrays that those addresses point into.
    """

    documents: NDArray[np.void]
    first_document: NDArray[np.int64]
    shards: Shards
    keep_alive: list[NDArray[Any]]

    def documents_of(self, source: int) -> NDArray[np.void]:
        """The training documents of one source, in the store's order."""
        return self.documents[self.first_document[source] : self.first_document[source + 1]]


def source_tables(sources: Sequence[tuple[StoreLike, ViewLike | None]]) -> Tables:
    """Flatten (store, view) pairs; held-out documents are left out."""
    documents = [_training_documents(store, view) for store, view in sources]
    shards, keep_alive = _shards(sources)
    return Tables(
        documents=np.concatenate(documents),
        first_document=np.cumsum([0, *map(len, documents)], dtype=np.int64),
        shards=shards,
        keep_alive=keep_alive,
    )


def _training_documents(store: StoreLike, view: ViewLike | None) -> NDArray[np.void]:
    ordinals = np.flatnonzero(~store.held_out)
    documents = np.zeros(len(ordinals), DOCUMENT_DTYPE)
    documents["ordinal"] = ordinals
    documents["num_bytes"] = store.raw_lengths[ordinals]
    if view is not None:
        documents["num_symbols"] = view.symbol_lengths[ordinals]
    return documents


def _shards(
    sources: Sequence[tuple[StoreLike, ViewLike | None]],
) -> tuple[Shards, list[NDArray[Any]]]:
    keep_alive: list[NDArray[Any]] = []
    rows = []
    for store, view in sources:
        first_ordinal = 0
        for shard, raw in enumerate(store.raw_columns):
            symbols = view.columns[shard] if view else _NO_COLUMN
            anchors = view.anchor_columns[shard] if view else _NO_COLUMN
            addresses = [_addresses(column, keep_alive) for column in (raw, symbols, anchors)]
            width = symbols.values.itemsize
            rows.append([first_ordinal, *addresses[0], *addresses[1], width, *addresses[2]])
            first_ordinal += len(raw.offsets) - 1
    counts = [len(store.raw_columns) for store, _ in sources]
    columns = np.array(rows, np.int64).reshape(-1, len(Shards._fields) - 1).T.copy()
    return Shards(np.cumsum([0, *counts], dtype=np.int64), *columns), keep_alive


def _addresses(column: ColumnLike, keep_alive: list[NDArray[Any]]) -> tuple[int, int]:
    values, offsets = np.ascontiguousarray(column.values), column.offsets
    assert offsets.dtype == np.int64 and offsets.flags.c_contiguous
    keep_alive += [values, offsets]
    return values.ctypes.data, offsets.ctypes.data


@compiled
def shard_of(shards: Shards, source: int, ordinal: int) -> int:
    """The shard that holds a document (binary search over its source's shards)."""
    low, high = shards.first_shard[source], shards.first_shard[source + 1]
    while high - low > 1:
        middle = (low + high) // 2
        if shards.first_ordinal[middle] <= ordinal:
            low = middle
        else:
            high = middle
    return low


@compiled
def anchors_of(shards: Shards, source: int, ordinal: int) -> Any:
    """A document's anchors: uint32 ``[2 a]``, byte and symbol offsets in turn."""
    shard = shard_of(shards, source, ordinal)
    row = ordinal - shards.first_ordinal[shard]
    offsets = int64_at(shards.anchor_offsets[shard] + 8 * row, 2)
    start = shards.anchor_values[shard] + 8 * offsets[0]
    return uint32_at(start, 2 * (offsets[1] - offsets[0]))
