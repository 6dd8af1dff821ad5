"""Parquet files: one document per row, one part per row group unless there are very many."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from proxylm.corpus.config import RecordFields
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.left_out import RejectionReason
from proxylm.corpus.listing import (
    READ_BYTES,
    FileRecord,
    FoundFile,
    check_unchanged,
    record_file,
)
from proxylm.corpus.places import arrow_file, naming
from proxylm.corpus.record_files import FileRange, RecordFilesCorpus
from proxylm.corpus.records import chosen_identity, document_from_bytes
from proxylm.errors import DamagedFileError, DataError, one_line

BATCH_ROWS = 1024


class ParquetCorpus(RecordFilesCorpus):
    """Documents in the rows of Parquet files, a part per row group unless there are very many.

    The text's column may have any type that casts to bytes (strings, binary, views,
    dictionaries), the id's any that casts to text, the symbols' any lists of integers.
    """

    format_name = "parquet"
    divides_by_size = False

    def _divide(self, file: FoundFile) -> tuple[FileRecord, list[FileRange]]:
        ranges, first_row = [], 0
        with naming(file.path), _open(file) as opened:
            check_columns(opened.schema_arrow, self._fields, file.path)
            for group in range(opened.metadata.num_row_groups):
                metadata = opened.metadata.row_group(group)
                ranges.append(FileRange(group, group + 1, metadata.total_byte_size, first_row))
                first_row += metadata.num_rows
        return record_file(file), ranges

    def _read_range(self, record: FileRecord, place: FileRange) -> Iterator[Document | Rejection]:
        check_unchanged(record)
        row = place.first_row
        try:
            with naming(record.path), _open(record) as file:
                for batch in file.iter_batches(
                    batch_size=BATCH_ROWS,
                    row_groups=[place.first],
                    columns=list(self._fields.names),
                ):
                    yield from read_rows(batch, record.name, row, self._fields)
                    row += batch.num_rows
            check_unchanged(record)
        except (pa.ArrowException, OSError) as error:
            check_unchanged(record)
            raise _damaged(record, error) from None


def check_columns(schema: pa.Schema, fields: RecordFields, origin: str) -> None:
    """Refuse a table that lacks a column, has it twice, or whose values cannot be read as needed.

    Raises:
        DataError: names the table, the column and what there is instead.
    """
    for name in fields.names:
        places = schema.get_all_field_indices(name)
        if not places:
            there = ", ".join(schema.names)
            raise DataError(f"{origin}: no column '{name}'; there are: {there}")
        if len(places) > 1:
            raise DataError(
                f"{origin}: {len(places)} columns are named '{name}'; rename all but one of them"
            )
    kinds = (
        (fields.text, _is_text, "text"),
        (fields.id, lambda kind: _casts(kind, pa.string()), "names"),
        (fields.symbols, _is_integer_list, "lists of integers"),
    )
    for column, fits, wanted in kinds:
        if column is not None and not fits(_stored_type(schema.field(column).type)):
            found = schema.field(column).type
            raise DataError(f"{origin}: column '{column}' holds {found}, not {wanted}")


def _stored_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values themselves, below extensions, dictionaries and runs."""
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        else:
            return kind


def _is_text(kind: pa.DataType) -> bool:
    return _casts(kind, pa.large_binary())


def _casts(kind: pa.DataType, wanted: pa.DataType) -> bool:
    # Asked of the library, since a list of types would lack those that come after it.
    try:
        pa.nulls(0, kind).cast(wanted)
    except pa.ArrowNotImplementedError:
        return False
    return True


def _is_integer_list(kind: pa.DataType) -> bool:
    if not hasattr(kind, "value_type") or pa.types.is_map(kind):
        return False
    values = _stored_type(kind.value_type)
    return pa.types.is_integer(values) or pa.types.is_null(values)


def read_rows(
    batch: pa.RecordBatch, origin: str, first_row: int, fields: RecordFields
) -> Iterator[Document | Rejection]:
    """The documents of a batch of rows; ids are ``origin:row`` where no id column is given."""
    texts = _texts(batch.column(fields.text))
    names: Iterator[str | bytes | None] = repeat(None, batch.num_rows)
    lists: Iterator[NDArray[Any] | None] = repeat(None, batch.num_rows)
    if fields.id is not None:
        names = _names(batch.column(fields.id))
    if fields.symbols is not None:
        lists = _lists(batch.column(fields.symbols))
    rows = zip(texts, names, lists, strict=True)
    for row, (raw, name, symbols) in enumerate(rows, start=first_row):
        identity = chosen_identity(name, f"{origin}:{row}")
        if raw is None:
            yield Rejection(id=identity, reason=RejectionReason.MISSING_TEXT)
        else:
            yield document_from_bytes(raw, identity=identity, fields=fields, symbols=symbols)


def _texts(column: pa.Array) -> Iterator[bytes | None]:
    # Binary, because a string column may hold bytes that are not UTF-8.
    for values in _stored_arrays(column):
        yield from (value.as_py() for value in values.cast(pa.large_binary()))


def _names(column: pa.Array) -> Iterator[str | bytes | None]:
    if column.type == pa.uuid():
        yield from (None if value is None else str(value) for value in column.to_pylist())
        return
    for values in _stored_arrays(column):
        yield from _texts(values if _is_text(values.type) else values.cast(pa.string()))


def _lists(column: pa.Array) -> Iterator[NDArray[Any] | None]:
    """Each row's integers; None where the row or one of them is null."""
    for rows in _stored_arrays(column):
        for row in rows:
            values = _stored(row.values) if row.is_valid else pa.nulls(1)
            yield None if values.null_count else values.to_numpy(zero_copy_only=False)


def _stored_arrays(column: pa.Array) -> Iterator[pa.Array]:
    """A column's values as plain arrays, one after the other.

    A dictionary is resolved row by row: a long text that stands in every row of a batch would
    otherwise be in memory as often.
    """
    while isinstance(column, pa.ExtensionArray):
        column = column.storage
    if _stored_type(column.type) == column.type:
        yield column
    else:
        yield from (_stored_row(column, row) for row in range(len(column)))


def _stored_row(values: pa.Array, row: int) -> pa.Array:
    """One row of a column; looked up, since Arrow cannot decode dictionaries and runs of all."""
    while True:
        if isinstance(values, pa.ExtensionArray):
            values = values.storage
        elif isinstance(values, pa.DictionaryArray):
            place = values.indices[row].as_py()
            if place is None:
                return pa.nulls(1)
            values, row = values.dictionary, place
        elif isinstance(values, pa.RunEndEncodedArray):
            values, row = values.values, values.slice(row, 1).find_physical_offset()
        else:
            return values.slice(row, 1)


def _stored(values: pa.Array) -> pa.Array:
    while True:
        if isinstance(values, pa.ExtensionArray):
            values = values.storage
        elif isinstance(values, pa.DictionaryArray):
            values = values.dictionary_decode()
        elif isinstance(values, pa.RunEndEncodedArray):
            values = pc.run_end_decode(values)
        else:
            return values


def _open(file: FoundFile) -> pq.ParquetFile:
    try:
        # With a buffer, pages are read as they are needed, and not a row group's column at once.
        return pq.ParquetFile(
            arrow_file(file.path),
            buffer_size=READ_BYTES,
            pre_buffer=False,
            page_checksum_verification=True,
        )
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from None


def _damaged(record: FoundFile, error: Exception) -> DamagedFileError:
    return DamagedFileError(f"{record.path}: damaged Parquet ({one_line(error)})")
