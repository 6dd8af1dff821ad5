"""Files that are never half there: atomic writes, whole published folders, checksums.

One write path for everything that must survive a kill or a full disk: write beside the target,
flush to the disk, rename, flush the folder that holds the name.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from proxylm.errors import (
    CannotWriteError,
    DamagedFileError,
    ProxylmError,
    UsageError,
    one_line,
)

TEMPORARY_PREFIX = ".partial-"

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_RUST_ERROR = re.compile(r"\(os error ([0-9]+)\)")
"""How safetensors and tokenizers say it, in exceptions that are no OSError."""


def require_utf8(path: str | os.PathLike[str]) -> None:
    """Refuse a place for our files that not every library can open: safetensors and Arrow cannot.

    Raises:
        UsageError: the path is not UTF-8.
    """
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{path}: this name is not UTF-8, and some libraries cannot open it; rename it, or "
            "give a relative path from inside the folder that has such a name"
        ) from None


def require_new(target: Path) -> None:
    """Refuse a target that is there, or whose name could not be opened again.

    Raises:
        UsageError: naming it.
    """
    require_utf8(target)
    if target.exists():
        raise UsageError(f"{target}: exists already; choose another folder or remove it")


@contextmanager
def named_write(target: Path, temporary: Path | None = None) -> Iterator[None]:
    """Make a failed write inside name ``target``: no library names what it could not write.

    Args:
        target: what is being written.
        temporary: where it is built, if not in place; errors there are about ``target``.

    Raises:
        CannotWriteError: the disk is full, or ``target`` cannot be written for another reason.
    """
    built_at = temporary or target
    try:
        yield
    except CannotWriteError as error:
        if not error.path.is_relative_to(built_at):
            raise
        inside = error.path.relative_to(built_at)
        raise CannotWriteError(target / inside, error.reason) from None
    except ProxylmError:
        raise
    except Exception as error:
        reason = _failed_write(error, built_at)
        if reason is None:
            raise
        raise CannotWriteError(target, reason) from None


def _failed_write(error: Exception, built_at: Path) -> str | None:
    """Why writing at ``built_at`` failed; None of an error that is about something else."""
    if isinstance(error, OSError):
        number, named = error.errno, error.filename
        # A folder above it could not be made. Of a copy, the source is named.
        ours = not isinstance(named, str) or (
            Path(named).is_relative_to(built_at) or built_at.is_relative_to(named)
        )
        if not ours and number not in _DISK_ERRORS:
            return None
        return os.strerror(number) if number else one_line(error)
    from_rust = _RUST_ERROR.search(str(error))
    number = int(from_rust[1]) if from_rust else None
    return os.strerror(number) if number in _DISK_ERRORS else None


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

    Raises:
        CannotWriteError: the disk is full, or ``target`` cannot be written for another reason.
        UsageError: its name is not UTF-8.
    """
    require_utf8(target)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}-{target.name}")
    try:
        with named_write(target, temporary):
            yield temporary
            sync_path(temporary)
            temporary.replace(target)
            sync_path(target.parent)
    finally:
        with suppress(OSError):  # the error that brought us here says more
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``target``; on success it becomes ``target``.

    ``target`` must not exist, so that nobody's files are replaced. Errors as ``atomic_file``.
    """
    require_new(target)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}-{target.name}")
    try:
        with named_write(target, temporary):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            for path in sorted(temporary.rglob("*")):
                sync_path(path)
            sync_path(temporary)
            temporary.rename(target)
            sync_path(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_temporaries(folder: Path, name: str = "") -> None:
    """Remove what killed writers left behind in ``folder``; call it only under its lock.

    Args:
        folder: where they wrote.
        name: only what has this in its name, whose lock it is then.
    """
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if name not in path.name:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_json(target: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, atomically. NaN is refused: it is not JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_file(target) as temporary:
        # Only half a surrogate pair cannot be encoded; its escape is JSON's own.
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DamagedFileError: it is missing, or no JSON; the message names it.
    """
    require_utf8(path)
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
        return Path(path).exists()  # False where there is a NUL in it
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise
