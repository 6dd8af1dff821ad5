"""A view store in memory: the same documents and views as on disk, nothing written anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import CompressedView, Compressor
from proxylm.data.store.column import Column
from proxylm.data.store.manifest import ViewRecord
from proxylm.errors import DataError, UsageError
from proxylm.fingerprint import fingerprint_of

ViewContent = tuple[ViewRecord, Sequence[CompressedView]]
"""What a view is, and each document's compressed form."""


@dataclass(frozen=True, kw_only=True)
class MemoryView:
    """One compressed view in memory, read like ``data.store.store.StoredView``.

    Attributes:
        name, symbol_count, compressor_fingerprint, reversible: what the view is.
        columns, anchor_columns: as in a store on disk, of one shard.
        segment_lengths_column, segment_symbol_counts_column: of compressors with segments.
        compressor: what made it, or None where the symbols were given.
    """

    name: str
    symbol_count: int
    compressor_fingerprint: str
    reversible: bool
    columns: list[Column]
    anchor_columns: list[Column]
    segment_lengths_column: Column | None = None
    segment_symbol_counts_column: Column | None = None
    compressor: Compressor | None = None

    @cached_property
    def symbol_lengths(self) -> NDArray[np.int64]:
        """Symbols per document: int64 ``[documents]``."""
        return _lengths(self.columns)

    def symbols(self, ordinal: int) -> NDArray[Any]:
        """Symbols of one document, ``[m]``."""
        return self.columns[0].row(ordinal)

    def anchors(self, ordinal: int) -> NDArray[np.uint32]:
        """Where both views of one document can be cut: uint32 ``[a, 2]`` (byte, symbol)."""
        return self.anchor_columns[0].row(ordinal)

    def segment_lengths(self, ordinal: int) -> NDArray[np.uint32] | None:
        """Bytes of each independently compressed segment, or None for compressors without."""
        column = self.segment_lengths_column
        return None if column is None else column.row(ordinal)

    def segment_symbol_counts(self, ordinal: int) -> NDArray[np.uint32] | None:
        """Symbols of each independently compressed segment, or None where they are not kept."""
        column = self.segment_symbol_counts_column
        return None if column is None else column.row(ordinal)

    def load_compressor(self) -> Compressor | None:
        """The compressor that made it, or None where the symbols were given."""
        return self.compressor


@dataclass(frozen=True, kw_only=True)
class MemoryStore:
    """Documents and their views in memory, read like ``data.store.store.ViewStore``.

    Attributes:
        fingerprint: names the documents and their split.
        ids: where each document came from.
        raw_columns: the documents' bytes, of one shard.
        held_out: bool ``[documents]``, True for documents kept out of training.
        views: the compressed views by name.
    """

    fingerprint: str
    ids: Sequence[str]
    raw_columns: list[Column]
    held_out: NDArray[np.bool_]
    views: Mapping[str, MemoryView] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        raw: Sequence[bytes],
        views: Mapping[str, ViewContent],
        held_out: Sequence[bool],
        *,
        compressors: Mapping[str, Compressor] | None = None,
    ) -> MemoryStore:
        """The store of those documents.

        Args:
            ids: one per document.
            raw: their bytes.
            views: for each view its record and one compressed form per document.
            held_out: one flag per document.
            compressors: what made the views, where the symbols should be shown as text.

        Raises:
            UsageError: these differ in number.

        >>> store = MemoryStore.of(["a", "b"], [b"one", b"two"], {}, [False, True])
        >>> store.raw(1).tobytes(), store.document_id(1), store.ordinals(held_out=True)
        (b'two', 'b', array([1]))
        """
        counts = {len(ids), len(raw), len(held_out), *(len(rows) for _, rows in views.values())}
        if len(counts) > 1:
            raise UsageError(f"ids, documents, flags and views differ in number: {sorted(counts)}")
        made_by = compressors or {}
        documents = [np.frombuffer(one, np.uint8) for one in raw]
        flags = np.array(held_out, bool)
        column = _column(documents, np.dtype(np.uint8))
        return cls(
            fingerprint=fingerprint_of(
                list(ids), column.values.tobytes(), column.offsets.tobytes(), flags.tobytes()
            ),
            ids=list(ids),
            raw_columns=[column],
            held_out=flags,
            views={
                name: _view(name, record, content, made_by.get(name))
                for name, (record, content) in views.items()
            },
        )

    def __repr__(self) -> str:
        views = ", ".join(self.view_names) or "none"
        return f"MemoryStore({self.document_count} documents; views: {views})"

    @property
    def document_count(self) -> int:
        """Number of documents, held out ones included."""
        return len(self.held_out)

    @property
    def view_names(self) -> list[str]:
        """Names of the compressed views."""
        return list(self.views)

    @cached_property
    def raw_lengths(self) -> NDArray[np.int64]:
        """Bytes per document: int64 ``[documents]``."""
        return _lengths(self.raw_columns)

    def view(self, name: str) -> MemoryView:
        """One compressed view.

        Raises:
            DataError: there is none of that name; those that are there are listed.
        """
        if name not in self.views:
            known = ", ".join(self.view_names) or "none"
            raise DataError(f"no view '{name}' in this store in memory (it has: {known})")
        return self.views[name]

    def ordinals(self, *, held_out: bool) -> NDArray[np.int64]:
        """Ordinals of the held-out documents, or of the training documents, ascending."""
        return np.flatnonzero(self.held_out == held_out)

    def raw(self, ordinal: int) -> NDArray[np.uint8]:
        """Bytes of one document, ``[n]``."""
        return self.raw_columns[0].row(ordinal)

    def document_id(self, ordinal: int) -> str:
        """Where a document came from."""
        return self.ids[ordinal]

    def check_content(self, ordinals: Iterable[int]) -> None:
        """Nothing to check: nothing was written."""


def _view(
    name: str, record: ViewRecord, content: Sequence[CompressedView], compressor: Compressor | None
) -> MemoryView:
    return MemoryView(
        name=name,
        symbol_count=record.symbol_count,
        compressor_fingerprint=record.compressor_fingerprint,
        reversible=record.reversible,
        columns=[_column([view.symbols for view in content], record.dtype)],
        anchor_columns=[_column([view.anchors for view in content], np.dtype(np.uint32))],
        segment_lengths_column=_optional_column([view.segment_lengths for view in content]),
        segment_symbol_counts_column=_optional_column(
            [view.segment_symbol_counts for view in content]
        ),
        compressor=compressor,
    )


def _column(rows: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> Column:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    if not rows:
        return Column(values=np.empty(0, dtype), offsets=offsets)
    return Column(values=np.concatenate(rows, dtype=dtype, casting="unsafe"), offsets=offsets)


def _optional_column(rows: Sequence[NDArray[np.uint32] | None]) -> Column | None:
    present = [row for row in rows if row is not None]
    return _column(present, np.dtype(np.uint32)) if present else None


def _lengths(columns: Sequence[Column]) -> NDArray[np.int64]:
    return np.concatenate([column.lengths for column in columns])
