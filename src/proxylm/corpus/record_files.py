"""Corpora of files that hold one document per record: what all their formats share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

from proxylm.corpus.config import PARTS, CorpusConfig
from proxylm.corpus.contract import ConfiguredCorpus, CorpusPart, ranges_of
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.listing import FileRecord, FoundFile
from proxylm.corpus.unpacking import Packing
from proxylm.fingerprint import fingerprint_of
from proxylm.pool import in_threads


@dataclass(frozen=True, slots=True)
class FileRange:
    """Some of a file's records.

    Attributes:
        first, stop: where they lie: ``[first, stop)`` of its bytes, row groups or record batches.
        num_bytes: their size.
        first_row: number of the first one; lines count from 1, rows from 0.
        content_hash: of these bytes, where they are bytes.
        packing: how the file is packed, of which this is all then.
    """

    first: int
    stop: int
    num_bytes: int
    first_row: int
    content_hash: str = ""
    packing: Packing | None = None


@dataclass(frozen=True, kw_only=True)
class RecordsPart(CorpusPart):
    """Ranges of files, in order, each with its file's number: one, unless there are very many."""

    ranges: tuple[tuple[int, FileRange], ...]


MOST_RANGES = 2 * PARTS
"""Where the files come to more ranges than this, those that follow each other share a part."""


class RecordFilesCorpus(ConfiguredCorpus):
    """Documents in the records of files of one format.

    A part is one range of a file. Where there would be more than ``MOST_RANGES`` (many small files
    or row groups), consecutive ones are joined until a part has ``part_bytes``.

    Args:
        config: which fields or columns hold text, id and symbols, and about how many bytes of a
            file become one part.
        files: the files, in order.

    Raises:
        DataError: a file cannot be divided: it is damaged, or lacks a column.
    """

    format_name: ClassVar[str]
    divides_by_size: ClassVar[bool] = True
    """False where the files themselves say what a part is, whatever ``part_bytes``."""

    def __init__(self, config: CorpusConfig, files: Sequence[FoundFile]) -> None:
        super().__init__(config)
        self._part_bytes = config.part_bytes_of(sum(file.num_bytes for file in files))
        divided = list(in_threads(self._divide, files))
        self._files = tuple(record for record, _ in divided)
        ranges = [(i, one) for i, (_, found) in enumerate(divided) for one in found]
        self._joins = len(ranges) > MOST_RANGES
        sizes = [one.num_bytes for _, one in ranges]
        alone = ((place, place + 1, size) for place, size in enumerate(sizes))
        found_parts = ranges_of(sizes, self._part_bytes) if self._joins else alone
        self._parts = tuple(
            RecordsPart(index=index, num_bytes=num_bytes, ranges=tuple(ranges[first:stop]))
            for index, (first, stop, num_bytes) in enumerate(found_parts)
        )

    @abstractmethod
    def _divide(self, file: FoundFile) -> tuple[FileRecord, list[FileRange]]:
        """Read one file once: its record, and where its parts lie."""

    @abstractmethod
    def _read_range(self, record: FileRecord, place: FileRange) -> Iterator[Document | Rejection]:
        """One item per record of a part of a file, in order.

        Raises:
            DataError: the file has changed or is damaged, or records in it cannot be read.
        """

    def read(self, part: CorpusPart) -> Iterator[Document | Rejection]:
        """One item per record of the part, in order."""
        assert isinstance(part, RecordsPart)
        for file, place in part.ranges:
            yield from self._read_range(self._files[file], place)

    @cached_property
    def fingerprint(self) -> str:
        """Names, sizes and hashes of the files, the fields read and where parts end."""
        ends: list[int | str] = [self._part_bytes] if self.divides_by_size or self._joins else []
        if self._joins:
            ends.append("joined")
        return fingerprint_of(self.format_name, self.listing(), asdict(self._fields), *ends)

    def parts(self) -> Sequence[CorpusPart]:
        """The parts of all files, in order."""
        return self._parts

    def listing(self) -> list[dict[str, Any]]:
        """Every file with its hash."""
        return [record.to_json() for record in self._files]
