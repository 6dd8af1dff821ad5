"""What a store holds, as arrays: documents and their views, in memory as on disk.

Documents are numbered by *ordinal*: 0, 1, … in corpus order over all shards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.data.store.column import Column
from proxylm.errors import DamagedFileError, DataError


class _Places:
    """Where each document stands: its shard, and its row there."""

    def __init__(self, columns: Sequence[Column]) -> None:
        rows = [len(column.offsets) - 1 for column in columns]
        self._ends = np.cumsum([0, *rows], dtype=np.int64)

    def of(self, ordinal: int) -> tuple[int, int]:
        if not 0 <= ordinal < self._ends[-1]:
            raise IndexError(f"document {ordinal} of {self._ends[-1]}")
        shard = int(np.searchsorted(self._ends, ordinal, side="right")) - 1
        return shard, int(ordinal - self._ends[shard])


@dataclass(frozen=True, kw_only=True)
class View:
    """One compressed view of a store, row for row beside the raw documents.

    Attributes:
        name, symbol_count, compressor_fingerprint, reversible: what the view is.
        columns: per shard, the symbols (uint16 or uint32).
        anchor_columns: per shard, rows (byte offset, symbol offset), values uint32 ``[a, 2]``.
        segment_columns: per shard, by name, what ``SEGMENT_COLUMNS`` says; of compressors with
            segments alone.
        compressor: what made it, where that is at hand; None on disk and for given symbols.
        compressor_folder: where a store on disk keeps what made it.
    """

    name: str
    symbol_count: int
    compressor_fingerprint: str
    reversible: bool
    columns: list[Column]
    anchor_columns: list[Column]
    segment_columns: Mapping[str, Sequence[Column | None]] = field(default_factory=dict)
    compressor: Compressor | None = None
    compressor_folder: Path | None = None

    @cached_property
    def symbol_lengths(self) -> NDArray[np.int64]:
        """Symbols per document: int64 ``[documents]``."""
        return _all_lengths(self.columns)

    @cached_property
    def _places(self) -> _Places:
        return _Places(self.columns)

    def symbols(self, ordinal: int) -> NDArray[np.uint16] | NDArray[np.uint32]:
        """Symbols of one document, ``[m]``, without copying."""
        return _row(self.columns, self._places.of(ordinal))

    def anchors(self, ordinal: int) -> NDArray[np.uint32]:
        """Where both views of one document can be cut: uint32 ``[a, 2]`` (byte, symbol)."""
        return _row(self.anchor_columns, self._places.of(ordinal))

    def segment_lengths(self, ordinal: int) -> NDArray[np.uint32] | None:
        """Bytes of each independently compressed segment, or None for compressors without."""
        return _row(self.segment_columns.get("segment_lengths"), self._places.of(ordinal))

    def segment_symbol_counts(self, ordinal: int) -> NDArray[np.uint32] | None:
        """Symbols of each independently compressed segment, or None where they are not kept."""
        return _row(self.segment_columns.get("segment_symbol_counts"), self._places.of(ordinal))

    def load_compressor(self) -> Compressor | None:
        """The compressor that made it, or None where the symbols were given.

        Raises:
            DamagedFileError: the one that the store keeps is missing or damaged.
        """
        if self.compressor_folder is None:
            return self.compressor
        if not self.compressor_folder.is_dir():
            raise DamagedFileError(
                f"{self.compressor_folder}: the compressor of view '{self.name}' is missing; "
                "prepare the store again"
            )
        return load_compressor(self.compressor_folder)


class Store:
    """Base of the stores: reads documents and views by ordinal, wherever the arrays lie.

    Attributes:
        origin: what messages call it.
        raw_columns: per shard, the documents' bytes (uint8).
        held_out: bool ``[documents]``, True for documents kept out of training.
        views: the compressed views by name.
    """

    origin: str
    raw_columns: list[Column]
    held_out: NDArray[np.bool_]
    views: Mapping[str, View]

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
        return _all_lengths(self.raw_columns)

    def view(self, name: str) -> View:
        """One compressed view.

        Raises:
            DataError: there is none of that name; those that are there are listed.
        """
        if name not in self.views:
            known = ", ".join(self.views) or "none"
            raise DataError(f"{self.origin}: no view '{name}' in this store (it has: {known})")
        return self.views[name]

    def ordinals(self, *, held_out: bool) -> NDArray[np.int64]:
        """Ordinals of the held-out documents, or of the training documents, ascending."""
        return np.flatnonzero(self.held_out == held_out)

    @cached_property
    def _places(self) -> _Places:
        return _Places(self.raw_columns)

    def locate(self, ordinal: int) -> tuple[int, int]:
        """The shard of a document and its row there."""
        return self._places.of(ordinal)

    def raw(self, ordinal: int) -> NDArray[np.uint8]:
        """Bytes of one document, ``[n]``, without copying."""
        return _row(self.raw_columns, self.locate(ordinal))


def _row(columns: Sequence[Column | None] | None, place: tuple[int, int]) -> Any:
    column = columns[place[0]] if columns else None
    return None if column is None else column.row(place[1])


def _all_lengths(columns: Sequence[Column]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *(column.lengths for column in columns)])
