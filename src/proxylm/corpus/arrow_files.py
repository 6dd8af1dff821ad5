"""Arrow files (also Feather) and Arrow streams: one document per row.

Hugging Face's library keeps its data sets as Arrow streams. Arrow has no checksums: what can be
checked is that a file is whole and that its columns are sound.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from proxylm.corpus.contract import Corpus, CorpusPart
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.listing import FileRecord, check_unchanged
from proxylm.corpus.parquet import check_columns, read_rows
from proxylm.corpus.records import RecordFields
from proxylm.errors import DamagedFileError, DataError, one_line
from proxylm.fingerprint import fingerprint_of

FILE_MAGIC = b"ARROW1"
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


@dataclass(frozen=True, kw_only=True)
class BatchesPart(CorpusPart):
    """Record batches ``[first, stop)`` of one file; ``first_row`` counts from 0 in the file."""

    file: int
    first: int
    stop: int
    first_row: int


class ArrowCorpus(Corpus):
    """Documents in the rows of Arrow files and streams.

    Args:
        name: readable name.
        files: the files, in order.
        fields: which columns hold text, id and symbols, as for Parquet.
        part_bytes: batches are grouped until a part has this many bytes.
    """

    def __init__(
        self, *, name: str, files: Sequence[FileRecord], fields: RecordFields, part_bytes: int
    ) -> None:
        self.name = name
        self.given_symbol_count = fields.symbol_count
        self._files = tuple(files)
        self._fields = fields
        self._part_bytes = part_bytes
        self._parts = tuple(self._divide())

    @cached_property
    def fingerprint(self) -> str:
        """Names, sizes and hashes of the files, the columns read and where parts end."""
        return fingerprint_of("arrow", self.listing(), asdict(self._fields), self._part_bytes)

    def parts(self) -> Sequence[BatchesPart]:
        """Runs of record batches."""
        return self._parts

    def _divide(self) -> Iterator[BatchesPart]:
        index = 0
        for number, record in enumerate(self._files):
            first = first_row = num_bytes = num_rows = 0
            sizes = [(batch.nbytes, batch.num_rows) for batch in self._batches(record)]
            for position, (batch_bytes, batch_rows) in enumerate(sizes, start=1):
                num_bytes += batch_bytes
                num_rows += batch_rows
                if num_bytes < self._part_bytes and position < len(sizes):
                    continue
                yield BatchesPart(
                    index=index,
                    num_bytes=num_bytes,
                    file=number,
                    first=first,
                    stop=position,
                    first_row=first_row,
                )
                index, first, first_row = index + 1, position, first_row + num_rows
                num_bytes = num_rows = 0

    def read(self, part: CorpusPart) -> Iterator[Document | Rejection]:
        """One item per row of the part's batches, in order."""
        assert isinstance(part, BatchesPart)
        record = self._files[part.file]
        check_unchanged(record)
        row = part.first_row
        for batch in self._batches(record, part.first, part.stop):
            try:
                yield from read_rows(batch, record.name, row, self._fields)
            except pa.ArrowException as error:
                reason = one_line(error)
                raise DataError(
                    f"{record.path}: row {row} or later cannot be read ({reason}); write its "
                    "columns in plain types"
                ) from None
            row += batch.num_rows
        check_unchanged(record)

    def _batches(
        self, record: FileRecord, first: int = 0, stop: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The columns that are read, of some of a file's batches.

        Raises:
            DataError: the file is damaged, or lacks a column.
        """
        try:
            # As bytes, Arrow takes names that are not UTF-8, too.
            with pa.memory_map(os.fsencode(record.path)) as source:
                for batch in _stored_batches(source, record, first, stop):
                    check_columns(batch.schema, self._fields, record.path)
                    columns = batch.select(list(self._fields.names))
                    columns.validate(full=True)  # wrong offsets would read foreign memory
                    yield columns
        except (pa.ArrowException, OSError) as error:
            check_unchanged(record)
            raise _damaged(record, one_line(error)) from None

    def describe(self) -> dict[str, Any]:
        """Adds the number of files."""
        return super().describe() | {"files": len(self._files)}

    def listing(self) -> list[dict[str, Any]]:
        """Every file with its hash."""
        return [record.to_json() for record in self._files]


def _stored_batches(
    source: pa.MemoryMappedFile, record: FileRecord, first: int, stop: int | None
) -> Iterator[pa.RecordBatch]:
    if source.read(len(FILE_MAGIC)) == FILE_MAGIC:
        file = pa.ipc.open_file(source)
        for position in range(first, file.num_record_batches if stop is None else stop):
            yield file.get_batch(position)
        return
    # A stream that was cut between two batches reads as a shorter one.
    source.seek(max(0, record.num_bytes - len(END_OF_STREAM)))
    if source.read() != END_OF_STREAM:
        raise _damaged(record, "it has no end mark, so it is truncated")
    source.seek(0)
    for position, batch in enumerate(pa.ipc.open_stream(source)):
        if stop is not None and position >= stop:
            return
        if position >= first:
            yield batch


def _damaged(record: FileRecord, why: str) -> DamagedFileError:
    return DamagedFileError(f"{record.path}: damaged Arrow ({why})")
