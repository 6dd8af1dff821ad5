"""How the processes of a pool share a machine: threads by count, GPUs by number, memory by need."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

Item = TypeVar("Item")
Result = TypeVar("Result")

_READERS = 8
"""Threads that wait for disks and networks, where there are fewer cores."""

WORKER_NUMBER = "PROXYLM_WORKER_NUMBER"
"""Environment variable that numbers the processes of a pool, from 0."""

CONTROL_GROUPS = Path("/sys/fs/cgroup")
"""Where Linux says what a container may take of its machine."""

_CONTAINER_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
"""Where control groups of version 2 and 1 say how much memory all of a container may take."""


def available_memory(control_groups: Path = CONTROL_GROUPS) -> int:
    """Bytes that processes can still take, of the machine's or, in a container, of its share."""
    limits = [psutil.virtual_memory().available]
    for name in _CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # no such group, or one without a limit ("max")
            limits.append(int((control_groups / name).read_text()))
    return min(limits)


def threads_each(workers: int) -> int:
    """A worker's share of the cores, or of the threads that ``OMP_NUM_THREADS`` allows."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    cores = int(allowed) if allowed.isdecimal() else usable_cores()
    return max(1, cores // workers)


def usable_cores(control_groups: Path = CONTROL_GROUPS) -> int:
    """Cores that this process can keep busy: those it may run on, less what a container withholds.

    A container with a quota of processor time sees all cores of its machine; as many threads would
    be stopped for most of every period, and wait for each other.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    return max(1, int(min(cores, _quota_cores(control_groups))))


def _quota_cores(control_groups: Path) -> float:
    # Version 2 of control groups has both numbers in one file, version 1 in two.
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            text = " ".join((control_groups / name).read_text() for name in names)
            quota, period = map(int, text.split())
        except (OSError, ValueError):  # no such file, or "max": no quota
            continue
        if quota > 0:
            return quota / period
    return float("inf")


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], batch: int = 1
) -> Iterator[Result]:
    """``function`` of each item, in order, for work that lets go of the interpreter (reading).

    The first item that fails, in their order, ends it: what waits behind it is not begun.

    Args:
        function: called from several threads at a time.
        items: what it is called with.
        batch: items that one thread takes at a time.
    """
    batches = [items[first : first + batch] for first in range(0, len(items), batch)]
    pool = ThreadPoolExecutor(max(_READERS, os.cpu_count() or 1))
    try:
        for results in pool.map(lambda some: [function(one) for one in some], batches):
            yield from results
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def shared_device_index(devices: int) -> int | None:
    """Which of several devices this process takes; None outside of a pool."""
    worker = os.environ.get(WORKER_NUMBER)
    return None if worker is None else int(worker) % devices
