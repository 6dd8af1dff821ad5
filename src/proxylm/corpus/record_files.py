"""Corpora of files that hold one document per record: what all their formats share."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

from proxylm.corpus.config import RecordFields
from proxylm.corpus.contract import Corpus, CorpusPart
from proxylm.corpus.listing import FileRecord
from proxylm.fingerprint import fingerprint_of


@dataclass(frozen=True, kw_only=True)
class RecordsPart(CorpusPart):
    """Some of the records of file number ``file``; formats add where they lie in it."""

    file: int


class RecordFilesCorpus(Corpus):
    """Documents in the records of files of one format.

    Args:
        name: readable name.
        files: the files, in order.
        fields: which fields or columns hold text, id and symbols.
        part_bytes: about how many bytes of a file become one part.

    Raises:
        DataError: a file cannot be divided: it is damaged, or lacks a column.
    """

    format_name: ClassVar[str]
    divides_by_size: ClassVar[bool] = True
    """False where the files themselves say what a part is, whatever ``part_bytes``."""

    def __init__(
        self, *, name: str, files: Sequence[FileRecord], fields: RecordFields, part_bytes: int
    ) -> None:
        self.name = name
        self.given_symbol_count = fields.symbol_count
        self._files = tuple(files)
        self._fields = fields
        self._part_bytes = part_bytes
        numbers = itertools.count()
        self._parts = tuple(
            part for file in range(len(self._files)) for part in self._parts_of(file, numbers)
        )

    @abstractmethod
    def _parts_of(self, file: int, numbers: Iterator[int]) -> Iterator[CorpusPart]:
        """Divide one file; ``numbers`` gives each part its index."""

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
