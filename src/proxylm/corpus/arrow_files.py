"""Arrow files (also Feather) and Arrow streams: one document per row.

Hugging Face's library keeps its data sets as Arrow streams. Arrow has no checksums: what can be
checked is that a file is whole and that its columns are sound.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from proxylm.corpus.contract import ranges_of
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.listing import FileRecord, FoundFile, check_unchanged, record_file
from proxylm.corpus.parquet import check_columns, read_rows
from proxylm.corpus.places import arrow_file, naming
from proxylm.corpus.record_files import FileRange, RecordFilesCorpus
from proxylm.errors import DamagedFileError, DataError, one_line

FILE_MAGIC = b"ARROW1"
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


class ArrowCorpus(RecordFilesCorpus):
    """Documents in the rows of Arrow files and streams, columns as for Parquet.

    Record batches are grouped until a part has ``part_bytes``.
    """

    format_name = "arrow"

    def _divide(self, file: FoundFile) -> tuple[FileRecord, list[FileRange]]:
        sizes = [(batch.nbytes, batch.num_rows) for batch in self._batches(file)]
        ranges, first_row = [], 0
        for first, stop, num_bytes in ranges_of([size for size, _ in sizes], self._part_bytes):
            ranges.append(FileRange(first, stop, num_bytes, first_row))
            first_row += sum(rows for _, rows in sizes[first:stop])
        return record_file(file), ranges

    def _read_range(self, record: FileRecord, place: FileRange) -> Iterator[Document | Rejection]:
        check_unchanged(record)
        row = place.first_row
        for batch in self._batches(record, place.first, place.stop):
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
        self, record: FoundFile, first: int = 0, stop: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The columns that are read, of some of a file's batches.

        Raises:
            DataError: the file is damaged, or lacks a column.
        """
        try:
            with naming(record.path), arrow_file(record.path, mapped=True) as source:
                for batch in _stored_batches(source, record, first, stop):
                    check_columns(batch.schema, self._fields, record.path)
                    columns = batch.select(list(self._fields.names))
                    columns.validate(full=True)  # wrong offsets would read foreign memory
                    yield columns
        except (pa.ArrowException, OSError) as error:
            check_unchanged(record)
            raise _damaged(record, one_line(error)) from None


def _stored_batches(
    source: pa.NativeFile, record: FoundFile, first: int, stop: int | None
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


def _damaged(record: FoundFile, why: str) -> DamagedFileError:
    return DamagedFileError(f"{record.path}: damaged Arrow ({why})")
