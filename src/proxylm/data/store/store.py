"""Reading a view store: every column as an array over a memory map, nothing copied.

``ViewStore.open`` checks the manifest and, for every file, its length, end marker, header and row
offsets; ``verify=True`` also hashes every byte and checks every symbol against its vocabulary.
Documents are numbered by *ordinal*: 0, 1, … in corpus order over all shards.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.data.store.manifest import (
    Manifest,
    ViewRecord,
    check_content,
    check_length,
    read_manifest,
)
from proxylm.data.store.shard_files import (
    SEGMENT_COLUMNS,
    Column,
    Header,
    anchor_column,
    bool_column,
    bytes_column,
    list_column,
    map_batch,
    optional_list_column,
    text_at,
)
from proxylm.data.store.writer import view_header
from proxylm.errors import DamagedFileError, DataError


class StoredView:
    """One compressed view of a store, row for row beside the raw documents.

    Attributes:
        name, symbol_count, compressor_fingerprint, reversible: what the view is.
        compressor_folder: where its compressor is saved, or None for given symbols.
        symbol_lengths: int64 ``[n]``, symbols per document.
        columns: per shard, the symbols (uint16 or uint32).
        anchor_columns: per shard, rows (byte offset, symbol offset), values uint32 ``[a, 2]``.
    """

    def __init__(self, store: ViewStore, name: str, record: ViewRecord):
        self.name = name
        self.symbol_count = record.symbol_count
        self.compressor_fingerprint = record.compressor_fingerprint
        self.reversible = record.reversible
        self.compressor_folder = (
            store.folder / record.compressor_folder if record.compressor_folder else None
        )
        self._store = store
        self.columns: list[Column] = []
        self.anchor_columns: list[Column] = []
        self._segment_columns: dict[str, list[Column | None]] = {
            column: [] for column in SEGMENT_COLUMNS
        }
        for shard, stored in enumerate(store.manifest.view_shards[name]):
            path = store.folder / stored.file.name
            header = view_header(store.manifest.fingerprint, shard, name, record)
            rows = store.manifest.shards[shard].rows
            batch = map_batch(store.folder, stored.file, header, rows)
            self.columns.append(list_column(path, batch, "symbols", record.dtype))
            self.anchor_columns.append(anchor_column(path, batch))
            for column, shards in self._segment_columns.items():
                shards.append(optional_list_column(path, batch, column, np.dtype(np.uint32)))
        self.symbol_lengths = _all_lengths(self.columns)

    def symbols(self, ordinal: int) -> NDArray[np.uint16] | NDArray[np.uint32]:
        """Symbols of one document, ``[m]``, a slice of the memory map."""
        shard, row = self._store.locate(ordinal)
        return self.columns[shard].row(row)

    def anchors(self, ordinal: int) -> NDArray[np.uint32]:
        """Where both views of one document can be cut: uint32 ``[a, 2]`` (byte, symbol)."""
        shard, row = self._store.locate(ordinal)
        return self.anchor_columns[shard].row(row)

    def segment_lengths(self, ordinal: int) -> NDArray[np.uint32] | None:
        """Bytes of each independently compressed segment, or None for compressors without."""
        return self._segment_row("segment_lengths", ordinal)

    def segment_symbol_counts(self, ordinal: int) -> NDArray[np.uint32] | None:
        """Symbols of each independently compressed segment, or None where they are not kept."""
        return self._segment_row("segment_symbol_counts", ordinal)

    def _segment_row(self, name: str, ordinal: int) -> NDArray[np.uint32] | None:
        shard, row = self._store.locate(ordinal)
        column = self._segment_columns[name][shard]
        return None if column is None else column.row(row)

    def load_compressor(self) -> Compressor | None:
        """The compressor that the store keeps for this view, or None for given symbols.

        Raises:
            DamagedFileError: it is missing or damaged.
        """
        if self.compressor_folder is None:
            return None
        if not self.compressor_folder.is_dir():
            raise DamagedFileError(
                f"{self.compressor_folder}: the compressor of view '{self.name}' is missing; "
                "prepare the store again"
            )
        return load_compressor(self.compressor_folder)

    def check_symbols(self) -> None:
        """Check every symbol against the vocabulary.

        Raises:
            DamagedFileError: a symbol is outside the vocabulary.
        """
        for shard, column in enumerate(self.columns):
            if column.values.size and int(column.values.max()) >= self.symbol_count:
                name = self._store.manifest.view_shards[self.name][shard].file.name
                raise DamagedFileError(
                    f"{self._store.folder / name}: symbol {int(column.values.max())} is outside "
                    f"the vocabulary of {self.symbol_count}"
                )


class ViewStore:
    """A finished view store, opened for reading.

    Attributes:
        folder, manifest: where it is and what it says it holds.
        raw_columns: per shard, the documents' bytes (uint8).
        raw_lengths: int64 ``[n]``, bytes per document.
        held_out: bool ``[n]``, True for documents kept out of training.
    """

    def __init__(self, folder: Path, manifest: Manifest):
        self.folder = folder
        self.manifest = manifest
        self._raw_batches = [
            map_batch(folder, shard.file, Header(store=manifest.fingerprint, shard=i), shard.rows)
            for i, shard in enumerate(manifest.shards)
        ]
        paths = [folder / shard.file.name for shard in manifest.shards]
        self.raw_columns = [
            bytes_column(path, batch) for path, batch in zip(paths, self._raw_batches, strict=True)
        ]
        self.raw_lengths = _all_lengths(self.raw_columns)
        flags = [
            bool_column(path, batch, "held_out")
            for path, batch in zip(paths, self._raw_batches, strict=True)
        ]
        self.held_out = np.concatenate([np.empty(0, bool), *flags])
        self._views: dict[str, StoredView] = {}

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> ViewStore:
        """Open the store in ``folder``.

        Args:
            folder: what ``proxylm prepare --out`` wrote.
            verify: also hash every file and check every symbol (reads the whole store).

        Raises:
            DataError: there is no finished store.
            DamagedFileError: a file is missing, truncated, altered or foreign; it is named.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        if verify:
            check_all_files(folder, manifest)
        else:
            for file in manifest.files():
                check_length(folder, file)
        store = cls(folder, manifest)
        for name in store.view_names:
            view = store.view(name)
            if verify:
                view.check_symbols()
        return store

    def __repr__(self) -> str:
        return f"ViewStore('{self.folder}')"

    def __reduce__(self) -> tuple[Any, ...]:
        # Memory maps stay here: another process opens the folder again.
        return ViewStore.open, (self.folder.absolute(),)

    @property
    def fingerprint(self) -> str:
        """Names the store: its corpus, its split and the views that chose its documents."""
        return self.manifest.fingerprint

    @property
    def document_count(self) -> int:
        """Number of documents, held out ones included."""
        return len(self.raw_lengths)

    @property
    def view_names(self) -> list[str]:
        """Names of the compressed views."""
        return list(self.manifest.views)

    def view(self, name: str) -> StoredView:
        """One compressed view.

        Raises:
            DataError: the store has no view of that name; those that it has are listed.
        """
        if name not in self.manifest.views:
            known = ", ".join(self.view_names) or "none"
            raise DataError(f"{self.folder}: no view '{name}' in this store (it has: {known})")
        if name not in self._views:
            self._views[name] = StoredView(self, name, self.manifest.views[name])
        return self._views[name]

    def ordinals(self, *, held_out: bool) -> NDArray[np.int64]:
        """Ordinals of the held-out documents, or of the training documents, ascending."""
        return np.flatnonzero(self.held_out == held_out)

    def locate(self, ordinal: int) -> tuple[int, int]:
        """The shard of a document and its row there."""
        if not 0 <= ordinal < self.document_count:
            raise IndexError(f"document {ordinal} of {self.document_count}")
        shard = int(np.searchsorted(self.first_ordinals, ordinal, side="right")) - 1
        return shard, int(ordinal - self.first_ordinals[shard])

    @cached_property
    def first_ordinals(self) -> NDArray[np.int64]:
        """Ordinal of each shard's first document, int64 ``[shards]``."""
        rows = [shard.rows for shard in self.manifest.shards]
        return np.cumsum([0, *rows], dtype=np.int64)[:-1]

    def check_content(self, ordinals: Iterable[int]) -> None:
        """Hash the shards that hold these documents.

        Raises:
            DamagedFileError: a file differs from the manifest; it is named.
        """
        for shard in sorted({self.locate(ordinal)[0] for ordinal in ordinals}):
            views = (shards[shard].file for shards in self.manifest.view_shards.values())
            for file in (self.manifest.shards[shard].file, *views):
                check_content(self.folder, file)

    def document_id(self, ordinal: int) -> str:
        """Where a document came from."""
        shard, row = self.locate(ordinal)
        path = self.folder / self.manifest.shards[shard].file.name
        return text_at(path, self._raw_batches[shard], "id", row)

    def raw(self, ordinal: int) -> NDArray[np.uint8]:
        """Bytes of one document, ``[n]``, a slice of the memory map."""
        shard, row = self.locate(ordinal)
        return self.raw_columns[shard].row(row)


def check_all_files(folder: Path, manifest: Manifest) -> None:
    """Hash every data file of a store; the first that differs raises ``DamagedFileError``."""
    # Hashing and reading release the interpreter lock, so threads do help.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(lambda file: check_content(folder, file), manifest.files()):
            pass


def _all_lengths(columns: list[Column]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *(column.lengths for column in columns)])
