"""What the kernels read of the stores: training documents' lengths and the columns' addresses.

``source_tables`` flattens any number of stores and shards into a few arrays, which is all that
compiled code has to know; ``SourceTables`` keeps the memory maps behind the addresses alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proxylm.compiled import Record
from proxylm.data.packing.compiled import compiled
from proxylm.data.packing.pointers import int64_at, uint32_at
from proxylm.data.sources import SourceStore, SourceView
from proxylm.data.store.column import Column

DOCUMENT_FIELDS = [("ordinal", "i8"), ("num_bytes", "i8"), ("num_symbols", "i8")]
DOCUMENT_DTYPE = np.dtype(DOCUMENT_FIELDS)
"""One training document: its ordinal in its store and the lengths of its two views."""


Columns = tuple[Column, Column, Column]
"""Of one shard: its documents' bytes, the view's symbols and its anchors."""

_NO_COLUMN = Column(values=np.empty(0, np.uint16), offsets=np.zeros(1, np.int64))
"""Stands where a source has no compressed view."""

SHARD_DTYPE = np.dtype(
    [
        ("first_ordinal", "i8"),  # of its first document, in its store
        ("raw_values", "i8"),  # address of the raw bytes (uint8) ...
        ("raw_offsets", "i8"),  # ... and of where each row starts (int64)
        ("symbol_values", "i8"),  # the same for the view's symbols ...
        ("symbol_offsets", "i8"),
        ("symbol_width", "i8"),  # ... of 2 or 4 bytes each
        ("anchor_values", "i8"),  # the same for its anchors (uint32 pairs)
        ("anchor_offsets", "i8"),
    ]
)
"""One shard's columns, as addresses."""

SOURCE_DTYPE = np.dtype(
    [
        ("first_document", "i8"),  # among the documents of all sources
        ("num_documents", "i8"),
        ("first_shard", "i8"),  # among the shards of all sources
        ("num_shards", "i8"),
    ]
)
"""One source: where its documents and shards stand in the tables."""


class Tables(NamedTuple):
    """Everything that the kernels read of the sources, structured arrays each.

    Attributes:
        documents: training documents of all sources, one after the other (``DOCUMENT_DTYPE``).
        sources: ``SOURCE_DTYPE``.
        shards: shards of all sources, one after the other (``SHARD_DTYPE``).
    """

    documents: NDArray[np.void]
    sources: NDArray[np.void]
    shards: NDArray[np.void]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTables:
    """The tables, and what stands behind their addresses.

    Attributes:
        tables: what the kernels read.
        columns: for each shard its raw bytes, symbols and anchors: the arrays that the addresses
            point into, which must stay alive.
        has_content: whether every row lies inside its column; not so for lengths alone, whose
            addresses must not be followed.
    """

    tables: Tables
    columns: list[Columns]
    has_content: bool

    def documents_of(self, source: int) -> NDArray[np.void]:
        """The training documents of one source, in the store's order."""
        entry = self.tables.sources[source]
        first = entry["first_document"]
        return self.tables.documents[first : first + entry["num_documents"]]


def source_tables(sources: Sequence[tuple[SourceStore, SourceView | None]]) -> SourceTables:
    """Flatten (store, view) pairs; held-out documents are left out."""
    documents = [_training_documents(store, view) for store, view in sources]
    columns = [_columns(store, view) for store, view in sources]
    entries = np.zeros(len(sources), SOURCE_DTYPE)
    entries["num_documents"] = [len(part) for part in documents]
    entries["num_shards"] = [len(part) for part in columns]
    for kind in ("document", "shard"):
        counts = entries[f"num_{kind}s"]
        entries[f"first_{kind}"] = np.cumsum(counts) - counts
    shards = np.concatenate([_shards(part) for part in columns])
    tables = Tables(np.concatenate(documents), entries, shards)
    return SourceTables(
        tables=tables,
        columns=[shard for part in columns for shard in part],
        has_content=all(
            column.offsets[-1] <= len(column.values)
            for part in columns
            for shard in part
            for column in shard
        ),
    )


def _training_documents(store: SourceStore, view: SourceView | None) -> NDArray[np.void]:
    ordinals = np.flatnonzero(~store.held_out)
    documents = np.zeros(len(ordinals), DOCUMENT_DTYPE)
    documents["ordinal"] = ordinals
    documents["num_bytes"] = store.raw_lengths[ordinals]
    if view is not None:
        documents["num_symbols"] = view.symbol_lengths[ordinals]
    return documents


def _columns(store: SourceStore, view: SourceView | None) -> list[Columns]:
    """Raw bytes, symbols and anchors of each shard, in memory as the kernels read them."""
    raw = [_contiguous(column) for column in store.raw_columns]
    if view is None:
        return [(column, _NO_COLUMN, _NO_COLUMN) for column in raw]
    symbols = [_contiguous(column) for column in view.columns]
    anchors = [_contiguous(column) for column in view.anchor_columns]
    return list(zip(raw, symbols, anchors, strict=True))


def _contiguous(column: Column) -> Column:
    return Column(
        values=np.ascontiguousarray(column.values),
        offsets=np.ascontiguousarray(column.offsets, np.int64),
    )


def _shards(columns: Sequence[Columns]) -> NDArray[np.void]:
    rows = []
    first_ordinal = 0
    for raw, symbols, anchors in columns:
        addresses = [_addresses(column) for column in (raw, symbols, anchors)]
        width = symbols.values.itemsize
        rows.append((first_ordinal, *addresses[0], *addresses[1], width, *addresses[2]))
        first_ordinal += len(raw.offsets) - 1
    return np.array(rows, SHARD_DTYPE)


def _addresses(column: Column) -> tuple[int, int]:
    return column.values.ctypes.data, column.offsets.ctypes.data


@compiled
def shard_of(tables: Tables, source: int, ordinal: int) -> Record:
    """The shard that holds a document (binary search over its source's shards)."""
    low = tables.sources[source].first_shard
    high = low + tables.sources[source].num_shards
    while high - low > 1:
        middle = (low + high) // 2
        if tables.shards[middle].first_ordinal <= ordinal:
            low = middle
        else:
            high = middle
    return tables.shards[low]


@compiled
def anchors_of(tables: Tables, source: int, ordinal: int) -> Any:
    """A document's anchors: uint32 ``[2 a]``, byte and symbol offsets in turn."""
    shard = shard_of(tables, source, ordinal)
    offsets = int64_at(shard.anchor_offsets + 8 * (ordinal - shard.first_ordinal), 2)
    return uint32_at(shard.anchor_values + 8 * offsets[0], 2 * (offsets[1] - offsets[0]))
