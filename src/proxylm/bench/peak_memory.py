"""Peak memory of work that is done in a process of its own, everything included."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory_of(work: Callable[..., object], *arguments: object) -> int:
    """Peak resident bytes of a fresh process that does ``work``: a function of a module."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as processes:
        return processes.submit(_peak_after, work, *arguments).result()


def _peak_after(work: Callable[..., object], *arguments: object) -> int:
    work(*arguments)
    return peak_memory_bytes()


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far.

    On Linux ``ru_maxrss`` starts from the size of the process that started this one, so the
    kernel's high-water mark of this program alone is read instead.
    """
    if _STATUS.exists():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
