"""One shard's Arrow files: row-aligned columns, one record batch each, read without copying.

A raw file has ``id`` (string), ``raw`` (large_binary) and ``held_out`` (bool); a view's file has
``symbols`` (large_list of uint16 or uint32), ``anchors`` (large_list of pairs of uint32: byte
offset, symbol offset) and, for compressors that work in segments, ``segment_lengths`` and
``segment_symbol_counts``. A header in the schema's metadata says which store, shard and
compressor the file belongs to.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from proxylm.compressors.contract import CompressedView
from proxylm.config import Config
from proxylm.data.store.column import Column, GrowingColumn
from proxylm.data.store.manifest import FORMAT_VERSION, FileRecord, ViewRecord, record_file
from proxylm.errors import DamagedFileError, DataError, one_line
from proxylm.files import atomic_file

_HEADER_KEY = b"proxylm"
_PAIR = pa.list_(pa.uint32(), 2)

SEGMENT_COLUMNS = ("segment_lengths", "segment_symbol_counts")
"""Of compressors that work in segments: bytes and symbols of each; named as in the view."""


class Header(Config):
    """Stored inside every data file; a file whose header differs is stale or foreign."""

    format_version: int = FORMAT_VERSION
    store: str
    """Fingerprint of the store."""
    shard: int
    view: str | None = None
    compressor_fingerprint: str | None = None
    symbol_count: int | None = None


class RawColumns:
    """The raw documents of one shard on their way into its file.

    Args:
        folder: the store's, where what does not fit into memory waits.
    """

    def __init__(self, folder: Path) -> None:
        uint8 = np.dtype(np.uint8)
        self._ids, self._raw = GrowingColumn(uint8, folder), GrowingColumn(uint8, folder)
        self._held_out: list[NDArray[np.bool_]] = [np.empty(0, bool)]

    def extend(
        self, ids: Sequence[str], raw: Sequence[bytes], held_out: Sequence[bool] | NDArray[np.bool_]
    ) -> None:
        """Append documents."""
        self._ids.extend([np.frombuffer(name.encode(), np.uint8) for name in ids])
        self._raw.extend([np.frombuffer(one, np.uint8) for one in raw])
        self._held_out.append(np.array(held_out, bool))

    def write(self, path: Path, header: Header) -> FileRecord:
        """Write the file; returns its length and checksum.

        Raises:
            DataError: its ids are longer than such a file can hold.
        """
        ids, raw, held_out = self._ids.column(), self._raw.column(), np.concatenate(self._held_out)
        if ids.offsets[-1] > np.iinfo(np.int32).max:
            raise DataError(
                f"{path}: the ids of its documents take {ids.offsets[-1]} bytes, over 2 GiB; "
                "divide the file that they come from"
            )
        arrays = {
            "id": _binary(pa.string(), ids.values, ids.offsets.astype(np.int32)),
            "raw": _binary(pa.large_binary(), raw.values, raw.offsets),
            "held_out": pa.array(held_out, pa.bool_()),
        }
        return _write_batch(path, arrays, header)


class ViewColumns:
    """One view of the documents of a shard on its way into its file.

    Args:
        record: what the view is.
        folder: the store's, where what does not fit into memory waits.
    """

    def __init__(self, record: ViewRecord, folder: Path) -> None:
        uint32 = np.dtype(np.uint32)
        self._symbols = GrowingColumn(record.dtype, folder)
        self._anchors = GrowingColumn(uint32, folder)
        self._segments = {name: GrowingColumn(uint32, folder) for name in SEGMENT_COLUMNS}
        self._has: set[str] = set()

    def extend(self, views: Sequence[CompressedView]) -> None:
        """Append the view of further documents, after ``ViewCheck`` has passed them."""
        self._symbols.extend([view.symbols for view in views])
        self._anchors.extend([view.anchors for view in views])
        for name, column in self._segments.items():
            rows = [getattr(view, name) for view in views]
            if rows and rows[0] is not None:
                self._has.add(name)
                column.extend(rows)

    def write(self, path: Path, header: Header) -> FileRecord:
        """Write the file; returns its length and checksum."""
        symbols, anchors = self._symbols.column(), self._anchors.column()
        pairs = pa.FixedSizeListArray.from_arrays(pa.array(anchors.values), type=_PAIR)
        arrays = {
            "symbols": _large_list(symbols),
            "anchors": pa.LargeListArray.from_arrays(pa.array(anchors.offsets), pairs),
        }
        for name, column in self._segments.items():
            if name in self._has:
                arrays[name] = _large_list(column.column())
        return _write_batch(path, arrays, header)


def map_batch(folder: Path, file: FileRecord, header: Header, rows: int) -> pa.RecordBatch:
    """Map one file and check that it is whole and ours: end marker, header, number of rows.

    Raises:
        DamagedFileError: it cannot be read, or belongs to another store, shard or compressor.
        DataError: this process has as many maps as the system allows.
    """
    path = folder / file.name
    try:
        # Closing gives the file descriptor back; the mapping lives as long as the arrays.
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            if reader.num_record_batches != 1:
                raise DamagedFileError(f"{path}: {reader.num_record_batches} batches, expected 1")
            batch = reader.get_batch(0)
        batch.validate()
        metadata = json.loads((batch.schema.metadata or {})[_HEADER_KEY])
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if os.strerror(errno.ENOMEM) in str(error):  # Arrow's errors have no number
            raise DataError(
                f"{path}: cannot be mapped: the system gives this process no further memory map; "
                "raise its limit (sysctl vm.max_map_count), or prepare the corpus again with "
                "larger parts (--part-bytes)"
            ) from None
        raise DamagedFileError(f"{path}: not a readable shard ({one_line(error)})") from None
    expected = header.model_dump(mode="json")
    for key, value in expected.items():
        if metadata.get(key) != value:
            raise DamagedFileError(
                f"{path}: a foreign or stale file: its {key} is {metadata.get(key)}, "
                f"the manifest says {value}"
            )
    if batch.num_rows != rows:
        raise DamagedFileError(f"{path}: {batch.num_rows} rows, the manifest says {rows}")
    return batch


def bytes_column(path: Path, batch: pa.RecordBatch) -> Column:
    """The ``raw`` column: uint8 values."""
    array = _array(path, batch, "raw", pa.large_binary())
    _, offsets, data = array.buffers()
    values = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    if len(array) == 0:
        return Column(values=values[:0], offsets=np.zeros(1, np.int64))
    return _checked(path, values, np.frombuffer(offsets, np.int64, count=len(array) + 1))


def list_column(path: Path, batch: pa.RecordBatch, name: str, dtype: np.dtype[Any]) -> Column:
    """A column of lists of unsigned integers."""
    array = _array(path, batch, name, pa.large_list(pa.from_numpy_dtype(dtype)))
    values = _without_nulls(path, array.values).to_numpy(zero_copy_only=True)
    return _checked(path, values, array.offsets.to_numpy())


def optional_list_column(
    path: Path, batch: pa.RecordBatch, name: str, dtype: np.dtype[Any]
) -> Column | None:
    """As ``list_column``; None where the file has no such column."""
    present = batch.schema.get_field_index(name) >= 0
    return list_column(path, batch, name, dtype) if present else None


def anchor_column(path: Path, batch: pa.RecordBatch) -> Column:
    """The ``anchors`` column: values ``[n, 2]``."""
    array = _array(path, batch, "anchors", pa.large_list(_PAIR))
    pairs = _without_nulls(path, array.values)
    values = _without_nulls(path, pairs.values).to_numpy(zero_copy_only=True).reshape(-1, 2)
    return _checked(path, values, array.offsets.to_numpy())


def bool_column(path: Path, batch: pa.RecordBatch, name: str) -> NDArray[np.bool_]:
    """A column of flags, bool ``[rows]`` (unpacked: Arrow stores bits)."""
    return _array(path, batch, name, pa.bool_()).to_numpy(zero_copy_only=False)


def text_at(path: Path, batch: pa.RecordBatch, name: str, row: int) -> str:
    """One row of a column of strings.

    Raises:
        DamagedFileError: there is no such column, or the row is no text.
    """
    one = _array(path, batch, name, pa.string()).slice(row, 1)
    try:
        one.validate(full=True)
    except pa.ArrowException:
        raise DamagedFileError(f"{path}: column '{name}', row {row} is damaged") from None
    return one[0].as_py()


def _array(path: Path, batch: pa.RecordBatch, name: str, expected: pa.DataType) -> pa.Array:
    found = batch.schema.get_field_index(name)
    if found < 0 or batch.schema.field(found).type != expected:
        raise DamagedFileError(f"{path}: no column '{name}' of type {expected}")
    return _without_nulls(path, batch.column(found))


def _without_nulls(path: Path, array: pa.Array) -> pa.Array:
    if array.null_count:
        raise DamagedFileError(f"{path}: damaged, it says that values are missing")
    return array


def _checked(path: Path, values: NDArray[Any], offsets: NDArray[np.int64]) -> Column:
    # A flipped bit in an offset must not become a read outside the file.
    if offsets[0] != 0 or offsets[-1] > len(values) or (np.diff(offsets) < 0).any():
        raise DamagedFileError(f"{path}: row offsets do not fit the values")
    return Column(values=values[: offsets[-1]], offsets=offsets)


def _write_batch(path: Path, arrays: dict[str, pa.Array], header: Header) -> FileRecord:
    schema = pa.schema(
        {name: array.type for name, array in arrays.items()},
        metadata={_HEADER_KEY: header.model_dump_json().encode()},
    )
    batch = pa.record_batch(list(arrays.values()), schema=schema)
    with atomic_file(path) as temporary:
        # Straight to the file: no second copy of the shard in memory.
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(batch)
        return record_file(temporary).model_copy(update={"name": path.name})


def _binary(kind: pa.DataType, values: NDArray[np.uint8], offsets: NDArray[Any]) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values)]
    return pa.Array.from_buffers(kind, len(offsets) - 1, buffers)


def _large_list(column: Column) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array(column.offsets), pa.array(column.values))
