"""Files as documents, byte for byte: a folder, a single file, the standard library.

Small files are grouped into parts of about ``part_bytes``. Nothing is decoded: line ends, a byte
order mark, NULs and invalid UTF-8 reach the model as they are.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import ConfiguredCorpus, CorpusPart, RangePart, range_parts
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.left_out import RejectionReason
from proxylm.corpus.listing import FileRecord, FoundFile, list_folder, record_file
from proxylm.corpus.records import document_from_bytes
from proxylm.corpus.streams import read_whole
from proxylm.fingerprint import fingerprint_of
from proxylm.pool import in_threads

_FILES_TOGETHER = 64
"""Files that a thread records at a time: handing one over costs as much as reading a small one."""

NOT_LIBRARY_FOLDERS = frozenset(("site-packages", "dist-packages", "test", "tests", "idle_test"))
"""Folders below the standard library that hold tests or other people's code."""


class RawFilesCorpus(ConfiguredCorpus):
    """One document per file; files are grouped until a part has ``part_bytes``.

    Args:
        config: only its limits on length and UTF-8 and the size of parts matter here.
        entries: what the folder holds, in order; links and devices as rejections.

    Raises:
        DataError: a file cannot be read.
    """

    def __init__(self, config: CorpusConfig, entries: Sequence[FoundFile | Rejection]) -> None:
        super().__init__(config)
        self._entries = tuple(in_threads(_recorded, entries, batch=_FILES_TOGETHER))
        sizes = [one.num_bytes if isinstance(one, FileRecord) else 0 for one in self._entries]
        self._part_bytes = config.part_bytes_of(sum(sizes))
        self._parts = range_parts(sizes, self._part_bytes)

    @cached_property
    def fingerprint(self) -> str:
        """Names, sizes and hashes of the files, and what decides how they are read."""
        rejected = [item.id for item in self._entries if isinstance(item, Rejection)]
        limits = [self._fields.reject_invalid_utf8, self._fields.max_document_bytes]
        return fingerprint_of("raw files", self.listing(), rejected, limits, self._part_bytes)

    def parts(self) -> Sequence[RangePart]:
        """Consecutive files, closed as soon as they reach ``part_bytes``."""
        return self._parts

    def read(self, part: CorpusPart) -> Iterator[Document | Rejection]:
        """The part's files in order."""
        assert isinstance(part, RangePart)
        for entry in self._entries[part.first : part.stop]:
            yield self._read_one(entry) if isinstance(entry, FileRecord) else entry

    def _read_one(self, record: FileRecord) -> Document | Rejection:
        if record.num_bytes > self._fields.max_document_bytes:
            detail = f"{record.num_bytes} bytes"
            return Rejection(id=record.name, reason=RejectionReason.TOO_LONG, detail=detail)
        return document_from_bytes(read_whole(record), identity=record.name, fields=self._fields)

    def listing(self) -> list[dict[str, Any]]:
        """Every file with its hash."""
        return [item.to_json() for item in self._entries if isinstance(item, FileRecord)]


def _recorded(entry: FoundFile | Rejection) -> FileRecord | Rejection:
    return record_file(entry) if isinstance(entry, FoundFile) else entry


def list_standard_library() -> list[FoundFile | Rejection]:
    """The running interpreter's own modules, without their tests and what was installed."""
    root = Path(sysconfig.get_path("stdlib"))
    listing = list_folder(root, "*.py", keep_folder=lambda name: name not in NOT_LIBRARY_FOLDERS)
    # Distributions link single modules to /etc; that is not the library's text.
    return [entry for entry in listing.entries if isinstance(entry, FoundFile)]
