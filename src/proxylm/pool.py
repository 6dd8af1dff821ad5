"""How the processes of a pool share a machine: threads by count, several GPUs by number."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP_FOLDER = Path("/sys/fs/cgroup")

WORKER_NUMBER = "PROXYLM_WORKER_NUMBER"
"""Environment variable that numbers the processes of a pool, from 0."""


def threads_each(workers: int) -> int:
    """A worker's share of the cores, or of the threads that ``OMP_NUM_THREADS`` allows."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    cores = int(allowed) if allowed.isdecimal() else usable_cores()
    return max(1, cores // workers)


def usable_cores() -> int:
    """Cores that this process can keep busy: those it may run on, less what a container withholds.

    A container with a quota of processor time sees all cores of its machine; as many threads would
    be stopped for most of every period, and wait for each other.
    """
    allowed = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    return max(1, int(min(len(allowed), _quota_cores())))


def _quota_cores() -> float:
    # Version 2 of control groups has both numbers in one file, version 1 in two.
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            text = " ".join((CGROUP_FOLDER / name).read_text() for name in names)
            quota, period = map(int, text.split())
        except (OSError, ValueError):  # no such file, or "max": no quota
            continue
        if quota > 0:
            return quota / period
    return float("inf")


def shared_device_index(devices: int) -> int | None:
    """Which of several devices this process takes; None outside of a pool."""
    worker = os.environ.get(WORKER_NUMBER)
    return None if worker is None else int(worker) % devices
