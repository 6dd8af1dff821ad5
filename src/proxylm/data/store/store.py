"""Reading a view store: every column as an array over a memory map, nothing copied.

``ViewStore.open`` checks the manifest and, for every file, its length, end marker, header and row
offsets; ``verify=True`` also hashes every byte and checks every symbol against its vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from proxylm.data.store.column import Column
from proxylm.data.store.contents import Store, View
from proxylm.data.store.manifest import Manifest, check_content, read_manifest, stamp_of
from proxylm.data.store.shard_files import (
    SEGMENT_COLUMNS,
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
from proxylm.errors import DamagedFileError
from proxylm.fingerprint import fingerprint_of
from proxylm.pool import in_threads

_OPENED: WeakValueDictionary[str, ViewStore] = WeakValueDictionary()
"""What is open in this process: maps are few, and a training has uses for one store in many places.
"""


class ViewStore(Store):
    """A finished view store, opened for reading.

    Attributes:
        folder, manifest: where it is and what it says it holds.
    """

    def __init__(self, folder: Path, manifest: Manifest):
        self.folder = folder
        self.origin = str(folder)
        self.manifest = manifest
        self._raw_batches = [
            map_batch(folder, shard.file, Header(store=manifest.fingerprint, shard=i), shard.rows)
            for i, shard in enumerate(manifest.shards)
        ]
        paths = [folder / shard.file.name for shard in manifest.shards]
        self.raw_columns = [
            bytes_column(path, batch) for path, batch in zip(paths, self._raw_batches, strict=True)
        ]
        flags = [
            bool_column(path, batch, "held_out")
            for path, batch in zip(paths, self._raw_batches, strict=True)
        ]
        self.held_out = np.concatenate([np.empty(0, bool), *flags])
        self.views = {name: _stored_view(folder, manifest, name) for name in manifest.views}

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> ViewStore:
        """Open the store in ``folder``; one that is open in this process is not mapped again.

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
        stamps = [stamp_of(folder, file) for file in manifest.files()]
        # Whatever was written since has another time: it is mapped, and so checked, again.
        key = fingerprint_of(str(folder.absolute()), manifest.fingerprint, stamps)
        store = _OPENED.get(key)
        if store is None:
            store = _OPENED[key] = cls(folder, manifest)
        if verify:
            for name, view in store.views.items():
                for shard in range(len(view.columns)):
                    store.check_symbols(name, shard)
        return store

    def check_symbols(self, view_name: str, shard: int) -> None:
        """Read one file of a view, and compare its symbols with their number.

        Raises:
            DamagedFileError: one is outside the vocabulary.
        """
        view = self.view(view_name)
        largest = int(view.columns[shard].values.max(initial=0))
        if largest >= view.symbol_count:
            file = self.manifest.view_shards[view_name][shard].file
            raise DamagedFileError(
                f"{self.folder / file.name}: symbol {largest} is outside the vocabulary of "
                f"{view.symbol_count}"
            )

    def __repr__(self) -> str:
        return f"ViewStore('{self.folder}')"

    def __reduce__(self) -> tuple[Any, ...]:
        # Memory maps stay here: another process opens the folder again.
        return ViewStore.open, (self.folder.absolute(),)

    @property
    def fingerprint(self) -> str:
        """Names the store: its corpus, its split and the views that chose its documents."""
        return self.manifest.fingerprint

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


def check_all_files(folder: Path, manifest: Manifest) -> None:
    """Hash every data file of a store; the first that differs raises ``DamagedFileError``."""
    for _ in in_threads(lambda file: check_content(folder, file), manifest.files()):
        pass


def _stored_view(folder: Path, manifest: Manifest, name: str) -> View:
    """One view, its columns over the memory maps of its files."""
    record = manifest.views[name]
    columns, anchors = [], []
    segments: dict[str, list[Column | None]] = {column: [] for column in SEGMENT_COLUMNS}
    for shard, stored in enumerate(manifest.view_shards[name]):
        path = folder / stored.file.name
        header = view_header(manifest.fingerprint, shard, name, record)
        batch = map_batch(folder, stored.file, header, manifest.shards[shard].rows)
        columns.append(list_column(path, batch, "symbols", record.dtype))
        anchors.append(anchor_column(path, batch))
        for column, shards in segments.items():
            shards.append(optional_list_column(path, batch, column, np.dtype(np.uint32)))
    return View(
        name=name,
        symbol_count=record.symbol_count,
        compressor_fingerprint=record.compressor_fingerprint,
        reversible=record.reversible,
        columns=columns,
        anchor_columns=anchors,
        segment_columns=segments,
        compressor_folder=folder / record.compressor_folder if record.compressor_folder else None,
    )
