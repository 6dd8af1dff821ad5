"""A view store in memory: the same documents and views as on disk, nothing written anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import CompressedView, Compressor
from proxylm.data.store.column import Column
from proxylm.data.store.contents import Store, View
from proxylm.data.store.manifest import ViewRecord
from proxylm.data.store.shard_files import SEGMENT_COLUMNS
from proxylm.errors import UsageError
from proxylm.fingerprint import fingerprint_of

ViewContent = tuple[ViewRecord, Sequence[CompressedView]]
"""What a view is, and each document's compressed form."""

_UINT32 = np.dtype(np.uint32)


@dataclass(frozen=True, kw_only=True)
class MemoryStore(Store):
    """Documents and their views in memory, of one shard.

    Attributes:
        fingerprint: names the documents and their split.
        ids: where each document came from.
    """

    fingerprint: str
    ids: Sequence[str]
    raw_columns: list[Column]
    held_out: NDArray[np.bool_]
    views: Mapping[str, View] = field(default_factory=dict)
    origin: str = "memory"

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
        column = Column.of(documents, np.dtype(np.uint8))
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

    def document_id(self, ordinal: int) -> str:
        """Where a document came from."""
        return self.ids[ordinal]

    def check_content(self, ordinals: Iterable[int]) -> None:
        """Nothing to check: nothing was written."""


def _view(
    name: str, record: ViewRecord, content: Sequence[CompressedView], compressor: Compressor | None
) -> View:
    segments = {column: [getattr(one, column) for one in content] for column in SEGMENT_COLUMNS}
    return View(
        name=name,
        symbol_count=record.symbol_count,
        compressor_fingerprint=record.compressor_fingerprint,
        reversible=record.reversible,
        columns=[Column.of([view.symbols for view in content], record.dtype)],
        anchor_columns=[Column.of([view.anchors for view in content], _UINT32)],
        segment_columns={
            column: [Column.of(rows, _UINT32)]
            for column, rows in segments.items()
            if any(row is not None for row in rows)
        },
        compressor=compressor,
    )
