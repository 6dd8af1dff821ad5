"""How the processes of a pool share a machine: threads by count, several GPUs by number."""

from __future__ import annotations

import os

WORKER_NUMBER = "PROXYLM_WORKER_NUMBER"
"""Environment variable that numbers the processes of a pool, from 0."""


def threads_each(workers: int) -> int:
    """A worker's share of the cores, or of the threads that ``OMP_NUM_THREADS`` allows."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    cores = int(allowed) if allowed.isdecimal() else os.cpu_count() or 1
    return max(1, cores // workers)


def shared_device_index(devices: int) -> int | None:
    """Which of several devices this process takes; None outside of a pool."""
    worker = os.environ.get(WORKER_NUMBER)
    return None if worker is None else int(worker) % devices
