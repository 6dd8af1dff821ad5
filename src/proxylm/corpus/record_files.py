"""Corpora of files that hold one document per record: what all their formats share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import ConfiguredCorpus, CorpusPart
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.listing import FileRecord
from proxylm.corpus.unpacking import Packing
from proxylm.fingerprint import fingerprint_of


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
    """Some of the records of file number ``file``."""

    file: int
    range: FileRange


class RecordFilesCorpus(ConfiguredCorpus):
    """Documents in the records of files of one format.

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

    def __init__(self, config: CorpusConfig, files: Sequence[FileRecord]) -> None:
        super().__init__(config)
        self._files = tuple(files)
        found = [(i, one) for i, file in enumerate(files) for one in self._ranges_of(file)]
        self._parts = tuple(
            RecordsPart(index=index, num_bytes=one.num_bytes, file=file, range=one)
            for index, (file, one) in enumerate(found)
        )

    @abstractmethod
    def _ranges_of(self, record: FileRecord) -> Iterator[FileRange]:
        """Divide one file."""

    @abstractmethod
    def _read_range(self, record: FileRecord, place: FileRange) -> Iterator[Document | Rejection]:
        """One item per record of a part of a file, in order.

        Raises:
            DataError: the file has changed or is damaged, or records in it cannot be read.
        """

    def read(self, part: CorpusPart) -> Iterator[Document | Rejection]:
        """One item per record of the part, in order."""
        assert isinstance(part, RecordsPart)
        return self._read_range(self._files[part.file], part.range)

    @cached_property
    def fingerprint(self) -> str:
        """Names, sizes and hashes of the files, the fields read and where parts end."""
        ends = [self._part_bytes] if self.divides_by_size else []
        return fingerprint_of(self.format_name, self.listing(), asdict(self._fields), *ends)

    def parts(self) -> Sequence[CorpusPart]:
        """The parts of all files, in order."""
        return self._parts

    def listing(self) -> list[dict[str, Any]]:
        """Every file with its hash."""
        return [record.to_json() for record in self._files]
