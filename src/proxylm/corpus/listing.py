"""What files a corpus has, recorded once: names, sizes and content hashes.

The listing is what makes a corpus checkable: a file that is not the same any more when its part
is read stops the run with its name, instead of giving a store that mixes two states.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import xxhash

from proxylm.corpus.document import Rejection
from proxylm.corpus.reasons import RejectionReason
from proxylm.errors import DataError

READ_BYTES = 1 << 20
CACHE_FOLDER = "__pycache__"
"""Compiled code that Python and numba leave beside the sources: never part of a corpus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file as it was when the corpus was opened.

    Attributes:
        path: where it lies.
        name: its path inside the corpus with ``/``, valid Unicode, used in document ids.
        num_bytes: its size.
        content_hash: XXH3-128 of its bytes, in hexadecimal.
        modified_ns: time of its last change, for files too costly to hash at every read.
    """

    path: str
    name: str
    num_bytes: int
    content_hash: str
    modified_ns: int

    def to_json(self) -> dict[str, Any]:
        """The record as a manifest keeps it (without the machine's path)."""
        return {"name": self.name, "num_bytes": self.num_bytes, "xxh3_128": self.content_hash}


def changed_error(record: FileRecord) -> DataError:
    """The error for a file that differs from its record."""
    return DataError(f"{record.path}: changed while it was being read; let it rest and run again")


def record_file(path: Path, name: str) -> FileRecord:
    """Read a file once, in bounded memory, and record it."""
    digest, num_bytes = xxhash.xxh3_128(), 0
    with path.open("rb") as stream:
        modified_ns = os.fstat(stream.fileno()).st_mtime_ns
        while block := stream.read(READ_BYTES):
            digest.update(block)
            num_bytes += len(block)
    return FileRecord(
        path=str(path),
        name=name,
        num_bytes=num_bytes,
        content_hash=digest.hexdigest(),
        modified_ns=modified_ns,
    )


def check_unchanged(record: FileRecord) -> None:
    """Compare a file's size and time with its record.

    Raises:
        DataError: they differ, or the file is gone.
    """
    try:
        status = Path(record.path).stat()
    except OSError:
        raise changed_error(record) from None
    if (status.st_size, status.st_mtime_ns) != (record.num_bytes, record.modified_ns):
        raise changed_error(record)


def list_folder(
    root: Path, pattern: str, *, keep_folder: Callable[[str], bool] = lambda name: True
) -> list[FileRecord | Rejection]:
    """Every file below ``root`` that matches, sorted by name; links out of the tree rejected.

    Names that start with a dot are left out, as a shell does, and so are Python's own caches
    (``__pycache__``); linked folders are not entered.

    Args:
        root: the folder.
        pattern: shell pattern, matched against the file's name, or against its whole path
            inside ``root`` if the pattern holds a slash (``*`` then crosses slashes).
        keep_folder: folders whose name it refuses are not entered.
    """
    real_root = root.resolve()
    found: list[FileRecord | Rejection] = []
    for path in sorted(_walk(root, keep_folder), key=lambda item: os.fsencode(item.as_posix())):
        relative = path.relative_to(root).as_posix()
        subject = relative if "/" in pattern else path.name
        if fnmatchcase(subject, pattern):
            found.append(_list_one(path, _readable(relative), real_root))
    return found


def _walk(root: Path, keep_folder: Callable[[str], bool]) -> Iterator[Path]:
    for folder, folder_names, file_names in os.walk(root, onerror=_raise):
        folder_names[:] = [
            name
            for name in folder_names
            if not name.startswith(".") and name != CACHE_FOLDER and keep_folder(name)
        ]
        yield from (Path(folder, name) for name in file_names if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error


def _list_one(path: Path, name: str, real_root: Path) -> FileRecord | Rejection:
    target = path.resolve()
    if path.is_symlink() and not (target.is_relative_to(real_root) and target.is_file()):
        return Rejection(id=name, reason=RejectionReason.LINK, detail=str(target))
    if not stat.S_ISREG(path.stat().st_mode):
        return Rejection(id=name, reason=RejectionReason.NOT_A_FILE)
    return record_file(path, name)


def _readable(name: str) -> str:
    # A file name need not be UTF-8; ids must be.
    return os.fsencode(name).decode("utf-8", "backslashreplace")
