"""Parquet files: one document per row, one part per row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from proxylm.corpus.contract import Corpus, CorpusPart
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.listing import FileRecord, check_unchanged
from proxylm.corpus.reasons import RejectionReason
from proxylm.corpus.records import RecordFields, chosen_identity, document_from_bytes
from proxylm.errors import DamagedFileError, DataError
from proxylm.fingerprint import fingerprint_of

BATCH_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class RowGroupPart(CorpusPart):
    """One row group of one file; ``first_row`` counts from 0 in the file."""

    file: int
    row_group: int
    first_row: int


class ParquetCorpus(Corpus):
    """Documents in the rows of Parquet files.

    Args:
        name: readable name.
        files: the files, in order.
        fields: which columns hold text (string or binary), id and symbols (list of integers).
    """

    def __init__(self, *, name: str, files: Sequence[FileRecord], fields: RecordFields) -> None:
        self.name = name
        self.given_symbol_count = fields.symbol_count
        self._files = tuple(files)
        self._fields = fields
        self._parts = tuple(self._divide())

    @cached_property
    def fingerprint(self) -> str:
        """Names, sizes and hashes of the files and the columns read."""
        return fingerprint_of("parquet", self.listing(), asdict(self._fields))

    def parts(self) -> Sequence[RowGroupPart]:
        """The row groups of all files."""
        return self._parts

    def _divide(self) -> Iterator[RowGroupPart]:
        index = 0
        for number, record in enumerate(self._files):
            with _open(record) as file:
                check_columns(file.schema_arrow, self._fields, record.path)
                first_row = 0
                for group in range(file.metadata.num_row_groups):
                    metadata = file.metadata.row_group(group)
                    yield RowGroupPart(
                        index=index,
                        num_bytes=metadata.total_byte_size,
                        file=number,
                        row_group=group,
                        first_row=first_row,
                    )
                    first_row += metadata.num_rows
                    index += 1

    def read(self, part: CorpusPart) -> Iterator[Document | Rejection]:
        """One item per row of the row group, in order."""
        assert isinstance(part, RowGroupPart)
        record = self._files[part.file]
        check_unchanged(record)
        row = part.first_row
        try:
            with _open(record) as file:
                for batch in file.iter_batches(
                    batch_size=BATCH_ROWS,
                    row_groups=[part.row_group],
                    columns=list(self._fields.names),
                ):
                    yield from read_rows(batch, record.name, row, self._fields)
                    row += batch.num_rows
            check_unchanged(record)
        except (pa.ArrowException, OSError) as error:
            check_unchanged(record)
            raise _damaged(record, error) from None

    def describe(self) -> dict[str, Any]:
        """Adds the number of files."""
        return super().describe() | {"files": len(self._files)}

    def listing(self) -> list[dict[str, Any]]:
        """Every file with its hash."""
        return [record.to_json() for record in self._files]


def check_columns(schema: pa.Schema, fields: RecordFields, origin: str) -> None:
    """Refuse a table that lacks a column, or whose text column is not text.

    Raises:
        DataError: names the table, the column and what there is instead.
    """
    for name in fields.names:
        if name not in schema.names:
            there = ", ".join(schema.names)
            raise DataError(f"{origin}: no column '{name}'; there are: {there}")
    text_type = schema.field(fields.text).type
    if not _is_text(text_type):
        raise DataError(f"{origin}: column '{fields.text}' holds {text_type}, not text")
    if fields.symbols and not _is_integer_list(schema.field(fields.symbols).type):
        symbols_type = schema.field(fields.symbols).type
        raise DataError(
            f"{origin}: column '{fields.symbols}' holds {symbols_type}, not lists of integers"
        )


def _is_text(kind: pa.DataType) -> bool:
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
    return any(check(kind) for check in (*checks, pa.types.is_large_binary))


def _is_integer_list(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list and pa.types.is_integer(kind.value_type)


def read_rows(
    batch: pa.RecordBatch, origin: str, first_row: int, fields: RecordFields
) -> Iterator[Document | Rejection]:
    """The documents of a batch of rows; ids are ``origin:row`` where no id column is given."""
    # Binary, because a string column may hold bytes that are not UTF-8.
    texts = batch.column(fields.text).cast(pa.large_binary())
    identities = batch.column(fields.id) if fields.id else None
    symbols = batch.column(fields.symbols) if fields.symbols else None
    for row in range(batch.num_rows):
        identity = f"{origin}:{first_row + row}"
        if identities is not None:
            identity = chosen_identity(identities[row].as_py(), identity)
        raw = texts[row].as_py()
        if raw is None:
            yield Rejection(id=identity, reason=RejectionReason.MISSING_TEXT)
            continue
        given = symbols[row] if symbols is not None else None
        values = None
        if given is not None and given.is_valid and not given.values.null_count:
            values = given.values.to_numpy(zero_copy_only=False)
        yield document_from_bytes(raw, identity=identity, fields=fields, symbols=values)


def _open(record: FileRecord) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(record.path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(record, error) from None


def _damaged(record: FileRecord, error: Exception) -> DamagedFileError:
    return DamagedFileError(f"{record.path}: damaged Parquet ({str(error).splitlines()[0]})")
