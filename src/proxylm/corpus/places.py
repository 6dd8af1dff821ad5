"""Where the files of a corpus lie: on a disk, or at a URL of any file system that fsspec knows.

Everything that lists or opens a file of a corpus does it here, so that every format is read from
``s3://``, ``gs://`` or ``memory://`` as it is from a folder. A place is text: a path, or a URL.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from proxylm.errors import DataError, ProxylmError, UsageError, one_line

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

_VERSIONS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")
"""What file systems tell of a file that is another once it was written again; the first counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStatus:
    """What can be told of a file without reading it.

    Attributes:
        num_bytes: its size.
        version: another text when the file was written again: the time, or what a store calls it.
    """

    num_bytes: int
    version: str


def is_url(place: str) -> bool:
    """Whether a corpus's path names a file system and a place in it.

    >>> is_url("s3://bucket/corpus"), is_url("corpora/mine"), is_url("hf:some/set")
    (True, False, False)
    """
    return _URL.match(place) is not None


def open_file(place: str | Path) -> BinaryIO:
    """A file's bytes, from the first one on.

    Raises:
        FileNotFoundError: it is not there.
        DataError: its file system cannot give it.
        UsageError: there is no such file system.
    """
    if not is_url(str(place)):
        return open(place, "rb")  # noqa: PTH123 - a place is text, and may be no UTF-8
    file_system, path = file_system_of(str(place))
    with naming(str(place)):
        return cast(BinaryIO, file_system.open(path, "rb"))


def arrow_file(place: str, *, mapped: bool = False) -> pa.NativeFile:
    """A file as Arrow reads it, if it can be mapped. Errors as ``open_file``, and Arrow's own."""
    if is_url(place):
        return pa.PythonFile(open_file(place), mode="r")
    path = os.fsencode(place)  # as bytes, Arrow takes names that are not UTF-8, too
    return pa.memory_map(path) if mapped else pa.OSFile(path)


def status_of(place: str) -> FileStatus:
    """A file's size and version, as they are now. Errors as ``open_file``."""
    if not is_url(place):
        status = Path(place).stat()
        return FileStatus(num_bytes=status.st_size, version=str(status.st_mtime_ns))
    file_system, path = file_system_of(place)
    with naming(place):
        file_system.invalidate_cache()
        return status_in(file_system.info(path))


def status_in(info: dict[str, Any]) -> FileStatus:
    """Size and version in what a file system tells of a file."""
    version = next((info[name] for name in _VERSIONS if info.get(name) is not None), "")
    if isinstance(version, datetime):  # of one file in memory, in a listing it is a number
        version = version.timestamp()
    return FileStatus(num_bytes=int(info["size"] or 0), version=str(version))


def file_system_of(url: str) -> tuple[Any, str]:
    """The file system that a URL names, and the path in it.

    Raises:
        UsageError: none of that name is known, or what it needs is not installed.
        DataError: it cannot be reached.
    """
    from fsspec.core import url_to_fs  # where files lie on disks it has no use

    with naming(url):
        try:
            return url_to_fs(url)
        except ImportError as error:
            raise UsageError(f"{url}: {one_line(error)}") from None
        except ValueError as error:
            raise UsageError(f"{url}: no such file system ({one_line(error)})") from None


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Make what goes wrong at a URL one line that names it: file systems have errors of their own.

    A file that is not there, and what Arrow says of content, are the caller's to tell.

    Raises:
        DataError: something did.
    """
    try:
        yield
    except (ProxylmError, FileNotFoundError, pa.ArrowException):
        raise
    except Exception as error:
        if not is_url(place):
            raise
        raise DataError(f"{place}: cannot be read ({one_line(error)})") from None
