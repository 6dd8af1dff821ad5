"""Files that are never half there: atomic writes, whole published folders, checksums.

One write path for everything that must survive a kill or a full disk (``reliability``): write
beside the target, flush to the disk, rename, flush the folder that holds the name.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from proxylm.errors import DamagedFileError, UsageError

TEMPORARY_PREFIX = ".partial-"


def sync_path(path: Path) -> None:
    """Flush one file, or the names in one folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success it takes the target's place.

    On any error the temporary file is removed and the old target stays as it was.
    """
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}-{target.name}")
    try:
        yield temporary
        sync_path(temporary)
        temporary.replace(target)
        sync_path(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``target``; on success it becomes ``target``.

    ``target`` must not exist, so that nobody's files are replaced.
    """
    if target.exists():
        raise UsageError(f"{target}: exists already; choose another folder or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}-{target.name}")
    temporary.mkdir()
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")):
            sync_path(path)
        sync_path(temporary)
        temporary.rename(target)
        sync_path(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_temporaries(folder: Path) -> None:
    """Remove what killed writers left behind in ``folder``; call it only under its lock."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_json(target: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, atomically. NaN is refused: it is not JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file, or say in one line which file is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DamagedFileError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path}: not readable as JSON ({error})") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_there(path: str | Path) -> bool:
    """Whether a path that a user may have meant exists; text that can be no path names nothing.

    Whoever takes a text apart at ``=``, ``:`` or ``,`` asks this first: paths hold those, too.
    """
    try:
        return Path(path).exists()
    except ValueError:  # a NUL in it
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise
