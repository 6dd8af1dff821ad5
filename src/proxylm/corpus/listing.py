"""What files a corpus has: found in a folder or at a URL, then read once to record their hashes.

The records are what makes a corpus checkable: a file that is not the same any more when its part
is read stops the run with its name, instead of giving a store that mixes two states.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import translate
from heapq import heappop, heappush
from pathlib import Path, PurePosixPath
from typing import Any

import xxhash

from proxylm.corpus.document import Rejection
from proxylm.corpus.left_out import RejectionReason
from proxylm.corpus.places import (
    FileStatus,
    file_system_of,
    naming,
    open_file,
    status_in,
    status_of,
)
from proxylm.errors import DataError

READ_BYTES = 1 << 20
SHOWN_PATH = 100
CACHE_FOLDER = "__pycache__"
"""Compiled code that Python and numba leave beside the sources: never part of a corpus."""


CACHE_PREFIXES = ("datasets--", "models--", "spaces--")
"""How the folders of Hugging Face's download cache begin."""

HIDDEN = "hidden"
UNMATCHED = "unmatched"
LINKED_AGAIN = "linked_again"
"""What a folder holds and no corpus of it does, by rule: counted, and no rejected documents.

``hidden``: names with a leading dot, and ``__pycache__``; a folder counts once. ``unmatched``:
files that the pattern does not match. ``linked_again``: links to folders whose files are read
where they lie.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """One file as it was found.

    Attributes:
        path: where it lies, a path or a URL.
        name: its path inside the corpus with ``/``, valid Unicode, used in document ids.
        status: its size, and what tells that it was written again.
    """

    path: str
    name: str
    status: FileStatus

    @property
    def num_bytes(self) -> int:
        """Its size."""
        return self.status.num_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord(FoundFile):
    """One file as it was read when the corpus was opened.

    Attributes:
        content_hash: XXH3-128 of its bytes, in hexadecimal.
    """

    content_hash: str

    def to_json(self) -> dict[str, Any]:
        """The record as a manifest keeps it (without the machine's path)."""
        return {"name": self.name, "num_bytes": self.num_bytes, "xxh3_128": self.content_hash}


def changed_error(file: FoundFile) -> DataError:
    """The error for a file that differs from what was found or recorded."""
    return DataError(f"{file.path}: changed while it was being read; let it rest and run again")


def find_file(path: str, name: str) -> FoundFile:
    """One file, unread."""
    return FoundFile(path=path, name=name, status=status_of(path))


def blocks_of(file: FoundFile) -> Iterator[bytes]:
    """A file's bytes, block by block.

    Raises:
        DataError: they are more or fewer than were found, or cannot be read.
    """
    num_bytes = 0
    try:
        with naming(file.path), open_file(file.path) as stream:
            while block := stream.read(READ_BYTES):
                num_bytes += len(block)
                yield block
    except FileNotFoundError:
        raise changed_error(file) from None
    if num_bytes != file.num_bytes:
        raise changed_error(file)


def recorded(file: FoundFile, content_hash: str) -> FileRecord:
    """A file that was read, and gave these bytes."""
    return FileRecord(path=file.path, name=file.name, status=file.status, content_hash=content_hash)


def record_file(file: FoundFile) -> FileRecord:
    """Read a file once, in bounded memory, and record it. Errors as ``blocks_of``."""
    digest = xxhash.xxh3_128()
    for block in blocks_of(file):
        digest.update(block)
    return recorded(file, digest.hexdigest())


def check_unchanged(file: FoundFile) -> None:
    """Compare a file's size and version with what was found.

    Raises:
        DataError: they differ, or the file is gone.
    """
    try:
        now = status_of(file.path)
    except OSError:
        raise changed_error(file) from None
    if now != file.status:
        raise changed_error(file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a folder holds.

    Attributes:
        entries: its files, and what should be one and cannot be read, sorted by name.
        skipped: how many names are skipped by rule, by ``HIDDEN`` and the others.
    """

    entries: tuple[FoundFile | Rejection, ...]
    skipped: Counter[str]


def list_folder(
    root: Path, pattern: str = "*", *, keep_folder: Callable[[str], bool] = lambda name: True
) -> Listing:
    """Every file below ``root`` that matches; what leads out of the tree is rejected.

    Names that start with a dot are left out, as a shell does, and so are Python's own caches
    (``__pycache__``). Links are followed inside the tree and into the stores that downloaders
    link to (``_homes``). The files of a linked folder are listed under the link's name, unless
    that folder is listed already: each is listed once, so links that lead in circles end.

    Args:
        root: the folder.
        pattern: see ``matcher``.
        keep_folder: folders whose name it refuses are not entered.

    Raises:
        DataError: a download cache lies there, which holds its files several times.
    """
    walk = _Walk(root, keep_folder)
    matches = matcher(pattern)
    entries: list[FoundFile | Rejection] = []
    for path in sorted(walk.paths, key=_sort_key):
        name = path.relative_to(root).as_posix()
        if path in walk.lost_folders or matches(name):
            entries.append(_list_one(path, _readable(name), walk.homes))
        else:
            walk.skipped[UNMATCHED] += 1
    return Listing(entries=tuple(entries), skipped=walk.skipped)


def list_url(url: str, pattern: str = "*") -> Listing:
    """Every file below a URL that matches, by the rules of ``list_folder``; there are no links.

    Raises:
        DataError: the file system cannot list it.
        UsageError: there is no such file system.
    """
    file_system, root = file_system_of(url)
    with naming(url):
        found: dict[str, dict[str, Any]] = file_system.find(root, detail=True)
    matches = matcher(pattern)
    entries, skipped, hidden = list[FoundFile | Rejection](), Counter[str](), set[str]()
    base = root.rstrip("/") + "/"
    for path in sorted(found, key=str.encode):
        name = path.removeprefix(base)
        if first := _hidden_part(name):
            hidden.add(first)
        elif matches(name):
            status, place = status_in(found[path]), file_system.unstrip_protocol(path)
            entries.append(FoundFile(path=place, name=name, status=status))
        else:
            skipped[UNMATCHED] += 1
    return Listing(entries=tuple(entries), skipped=skipped + Counter({HIDDEN: len(hidden)}))


def _hidden_part(name: str) -> str:
    """The file or folder on the way to ``name`` that is hidden; empty if none is."""
    parts = PurePosixPath(name).parts
    for number, part in enumerate(parts, start=1):
        if _is_hidden(part):
            return "/".join(parts[:number])
    return ""


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == CACHE_FOLDER


def matcher(pattern: str) -> Callable[[str], bool]:
    """Which files a shell pattern means.

    It is compared with the file's name, or with its whole path inside the folder where the
    pattern has a slash; ``*`` then crosses slashes, and ``**/`` also stands for no folder at all.
    Upper and lower case differ.

    >>> [matcher("**/*.py")(name) for name in ("a.py", "b/a.py", "b/c/a.py", "a.PY")]
    [True, True, True, False]
    """
    inner_folders = re.compile(r"(?:(?<=/)|^)\*\*/")
    # A path holds no NUL, and translating leaves one as it is.
    expression = translate(inner_folders.sub("\0", pattern)).replace("\0", "(?:.*/)?")
    matches = re.compile(expression).match
    if "/" in pattern:
        return lambda name: matches(name) is not None
    return lambda name: matches(name.rpartition("/")[2]) is not None


class _Walk:
    """The paths below a folder.

    Attributes:
        homes: folders that links may lead into.
        paths: files, and folders whose files are lost.
        lost_folders: links to folders elsewhere.
        skipped: counts of other names.
    """

    def __init__(self, root: Path, keep_folder: Callable[[str], bool]) -> None:
        real_root = root.resolve()
        self.homes = _homes(real_root)
        self.paths: list[Path] = []
        self.lost_folders: set[Path] = set()
        self.skipped: Counter[str] = Counter()
        self._keep_folder = keep_folder
        self._entered: set[str] = set()
        self._links: list[tuple[bytes, Path]] = []
        self._enter(root, str(real_root))
        # After all that lies in the tree, and in a fixed order, so that the names are fixed.
        while self._links:
            self._follow(heappop(self._links)[1])

    def _follow(self, link: Path) -> None:
        target = os.path.realpath(link)
        if not _is_inside(target, self.homes):
            self.lost_folders.add(link)
            self.paths.append(link)
        elif target in self._entered:
            self.skipped[LINKED_AGAIN] += 1
        else:
            self._enter(link, target)

    def _enter(self, folder: Path, real: str) -> None:
        # Not os.walk, which calls itself for every folder in a folder.
        pending = [(folder, real)]
        while pending:
            here, real_here = pending.pop()
            if real_here in self._entered:
                self.skipped[LINKED_AGAIN] += 1
                continue
            self._entered.add(real_here)
            names = self._list(here)
            pending += [(here / name, os.path.join(real_here, name)) for name in names]  # noqa: PTH118 - both are text

    def _list(self, folder: Path) -> list[str]:
        """Take a folder's files and links; returns the names of the folders in it."""
        folder_names = []
        with _opened(folder) as found:
            for entry in found:
                if _is_hidden(entry.name):
                    self.skipped[HIDDEN] += 1
                elif entry.is_dir(follow_symlinks=False):
                    folder_names.append(entry.name)
                elif entry.is_symlink() and os.path.isdir(entry.path):  # noqa: PTH112 - and no error
                    if self._keep_folder(entry.name):
                        path = folder / entry.name
                        heappush(self._links, (_sort_key(path), path))
                else:
                    self.paths.append(folder / entry.name)
        if folder.name.startswith(CACHE_PREFIXES) and {"blobs", "snapshots"} <= set(folder_names):
            raise _cache_error(folder)
        return [name for name in folder_names if self._keep_folder(name)]


def _opened(folder: Path) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
    try:
        return os.scandir(folder)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise DataError(
            f"{str(folder)[:SHOWN_PATH]}…: nested so deep that the system cannot open it "
            f"({len(os.fsencode(folder)):,} bytes of path); leave it out"
        ) from None


def _sort_key(path: Path) -> bytes:
    return os.fsencode(path.as_posix())


def _homes(real_root: Path) -> list[str]:
    """Folders that a corpus's links may lead into: its own, and those that downloaders fill.

    Hugging Face links the files of a snapshot to ``blobs`` beside ``snapshots``, git-annex (and
    DataLad) those of a work tree to ``.git/annex/objects``, DVC to ``.dvc/cache``. Where a corpus
    is a part of such a tree, they lie outside of it.
    """
    homes = [real_root]
    for folder in (real_root, *real_root.parents):
        homes += [folder / ".git" / "annex" / "objects", folder / ".dvc" / "cache"]
        if folder.name == "snapshots":
            homes.append(folder.parent / "blobs")
    return [os.path.realpath(home) for home in homes]


def _is_inside(target: str, folders: list[str]) -> bool:
    return any(Path(target).is_relative_to(folder) for folder in folders)


def _cache_error(folder: Path) -> DataError:
    snapshots = sorted(path.name for path in (folder / "snapshots").iterdir())
    return DataError(
        f"{folder}: a download cache, which has each file several times; give one of its "
        f"snapshots: {', '.join(f'snapshots/{name}' for name in snapshots)}"
    )


def _list_one(path: Path, name: str, homes: list[str]) -> FoundFile | Rejection:
    if path.is_symlink():
        target = os.path.realpath(path)
        if not (_is_inside(target, homes) and Path(target).is_file()):
            return Rejection(id=name, reason=RejectionReason.LINK, detail=target)
    if not stat.S_ISREG(path.stat().st_mode):
        return Rejection(id=name, reason=RejectionReason.NOT_A_FILE)
    return find_file(str(path), name)


def _readable(name: str) -> str:
    # A file name need not be UTF-8; ids must be.
    return os.fsencode(name).decode("utf-8", "backslashreplace")
