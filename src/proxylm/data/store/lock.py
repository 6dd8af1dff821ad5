"""One writer per view store: an advisory lock that lives as long as the last writing process.

The open lock is handed on to the workers, so that after a kill of the main process nobody else
can start writing before the last orphaned worker is gone.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proxylm.errors import UsageError

LOCK_NAME = ".lock"
# Workers of a killed run end within a fraction of a second; a live run is reported after this.
_PATIENCE_SECONDS = 3.0
_RETRY_SECONDS = 0.02


@contextmanager
def store_lock(folder: Path) -> Iterator[int]:
    """Hold the lock of ``folder``; yields its file descriptor, to be passed on to workers.

    Raises:
        UsageError: another process is writing in this folder.
    """
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise UsageError(f"{folder}: another prepare is writing here; wait for it")
            time.sleep(_RETRY_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
