"""Running a job's shards: datatrove's executor contract over the standard process pool.

datatrove brings the steps, their order, ranks and completion markers. Its own local
executor is not used: it starts a manager process that outlives a killed run, waits for ever for
a worker that the system killed, and pickles the whole pipeline, compressors included, for every
task. Here workers load the compressors once, a lost worker is an error, and workers end with
the run that started them, whatever ended it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.queues import SimpleQueue
from multiprocessing.reduction import DupFd
from typing import Any

from datatrove.executor.base import DistributedEnvVars, PipelineExecutor
from datatrove.utils.stats import PipelineStats

from proxylm.data.store.job import Job
from proxylm.data.store.steps import ViewSource
from proxylm.errors import DataError
from proxylm.files import named_write
from proxylm.pool import WORKER_NUMBER, available_memory, threads_each

WORKER_BYTES = 256 << 20
"""Memory of a worker before its first document: interpreter, libraries, compressors."""

HELD_PER_BYTE = 8
"""Memory for each byte of a part: the documents and their symbols, and what is written of them."""

LARGEST_DOCUMENT = 16 << 20
"""Bytes of one document that room is kept for: a corpus leaves out longer ones unless told."""

_ONE_THREAD = {
    "TOKENIZERS_PARALLELISM": "false",
    "RAYON_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    # Arrow's allocator: without its background thread the process that workers are forked from
    # has a single thread, so that no fork can copy a lock that another thread holds.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""Workers share the cores among themselves; threads inside them would only compete."""


class ShardExecutor(PipelineExecutor):
    """Runs the shards of a job in this process, one after the other."""

    def __init__(self, job: Job, sources: dict[str, ViewSource]):
        super().__init__(pipeline=[], logging_dir=str(job.work))
        self.job = job
        self.sources = sources

    @property
    def world_size(self) -> int:
        """Number of shards."""
        return len(self.job.source.part_bytes)

    def run(self) -> None:
        """Run every shard that has no completion marker."""
        for rank in self.get_incomplete_ranks():
            self.run_shard(rank)

    def run_shard(self, rank: int) -> int:
        """Read, compress and write one shard, mark it completed; returns ``rank``."""
        self.pipeline = list(self.job.pipeline(self.sources))
        self._run_for_rank(rank)
        return rank

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> PipelineStats:
        # As datatrove's, without its log handlers: they take 80 ms per shard to set up and write
        # to stderr; errors reach the caller as exceptions.
        blocks = None
        for step in self.pipeline:
            blocks = step(blocks, rank, self.world_size)
        deque(blocks or (), maxlen=0)
        with named_write(self.job.work):
            self.mark_rank_as_completed(rank)
        return PipelineStats(self.pipeline)

    def memory_for(self, rank: int) -> int:
        """Bytes of memory to keep for a worker on shard ``rank``.

        What is read and compressed waits until the shard is written; the compressor's own need
        is that of one document, which may be the whole part.
        """
        num_bytes = self.job.source.part_bytes[rank]
        largest = min(num_bytes, LARGEST_DOCUMENT)
        needs = (source.memory_for(largest) for source in self.sources.values())
        return WORKER_BYTES + HELD_PER_BYTE * num_bytes + max(needs, default=0)

    def mark_exactly(self, finished: set[int]) -> None:
        """Make the completion markers say exactly that these shards are finished."""
        for rank in range(self.world_size):
            if rank in finished and not self.is_rank_completed(rank):
                with named_write(self.job.work):
                    self.mark_rank_as_completed(rank)
            elif rank not in finished and self.is_rank_completed(rank):
                self.logging_dir.rm(f"completions/{rank:05d}")

    def get_distributed_env(self, node_rank: int = -1) -> DistributedEnvVars:
        """datatrove's description of a run on this machine alone."""
        return DistributedEnvVars(
            datatrove_node_ips="localhost",
            datatrove_cpus_per_task="1",
            datatrove_mem_per_cpu="-1",
            datatrove_gpus_on_node="0",
            datatrove_executor="LOCAL",
        )


def run_shards(
    executor: ShardExecutor, workers: int, lock_descriptor: int, on_done: Callable[[int], None]
) -> None:
    """Run all incomplete shards of a job; ``on_done(rank)`` is called after each.

    With one worker, or one shard left, everything happens in this process. The workers share
    the open store lock, so that it is held until the last of them is gone.

    Raises:
        DataError: a shard cannot be done, or a worker was killed.
    """
    ranks = executor.get_incomplete_ranks()
    workers = min(workers, len(ranks))
    threads = threads_each(max(1, workers))
    with _one_thread_each():
        if workers <= 1:
            for rank in ranks:
                on_done(executor.run_shard(rank))
        else:
            _run_in_pool(executor, ranks, (workers, threads), lock_descriptor, on_done)


def _run_in_pool(
    executor: ShardExecutor,
    ranks: list[int],
    workers_and_threads: tuple[int, int],
    lock_descriptor: int,
    on_done: Callable[[int], None],
) -> None:
    workers, threads = workers_and_threads
    job = executor.job
    context = _server_context()
    lifeline, our_end = context.Pipe(duplex=False)
    numbers = context.SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    pool = ProcessPoolExecutor(
        workers,
        context,
        _start_worker,
        (job, lifeline, _LockShare(lock_descriptor), numbers, threads),
    )
    # Largest first, so that no worker is left with a long part while the others are idle; but only
    # as many as there is memory for.
    part_bytes = job.source.part_bytes
    ranks = sorted(ranks, key=lambda rank: (-part_bytes[rank], rank))
    needs = {rank: executor.memory_for(rank) for rank in ranks}
    try:
        for rank in within_memory(
            lambda rank: pool.submit(_run_shard, rank), needs, workers, available_memory()
        ):
            on_done(rank)
    except BrokenProcessPool:
        raise DataError(
            f"{job.folder}: a worker was killed (out of memory?); "
            "run the same command again to go on, with fewer --workers if memory is short"
        ) from None
    except BaseException:
        # Ctrl-C, or a shard that failed: let go of the workers at once, they lose one shard each.
        our_end.close()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        our_end.close()
        lifeline.close()


def within_memory(
    submit: Callable[[int], Future[int]], needs: dict[int, int], workers: int, memory: int
) -> Iterator[int]:
    """Submit every rank as soon as there is room for it; yields results as they come.

    Args:
        submit: starts a rank.
        needs: bytes that each rank takes, in the order in which they are wanted.
        workers: how many run at a time, at most.
        memory: bytes that all that run take, at most; what needs more than that runs alone.
    """
    waiting, running = list(needs), dict[Future[int], int]()
    while waiting or running:
        free = memory - sum(running.values()) if running else max(needs.values())
        fitting = next((rank for rank in waiting if needs[rank] <= free), None)
        if fitting is not None and len(running) < workers:
            waiting.remove(fitting)
            running[submit(fitting)] = needs[fitting]
            continue
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            del running[future]
            yield future.result()


class _LockShare:
    """The store's lock on its way into a worker: as long as one lives, the lock is held."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any]]:
        return _receive_lock, (DupFd(self.descriptor),)


def _receive_lock(shared: Any) -> _LockShare:
    return _LockShare(shared.detach())


_worker_state: dict[str, Any] = {}


def _start_worker(
    job: Job, lifeline: Connection, lock: _LockShare, numbers: SimpleQueue[int], threads: int
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides when to stop
    os.environ.update(_ONE_THREAD)
    # Only torch, where a compressor brings it, has use for a core that no worker takes.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ[WORKER_NUMBER] = str(numbers.get())
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    _worker_state.update(lock=lock, job=job)


def _end_with(lifeline: Connection) -> None:
    # Readable only when the other end is closed: the main process stopped us, or is gone.
    lifeline.poll(None)
    os._exit(1)


def _run_shard(rank: int) -> int:
    # Compressors are loaded by the first shard, not at the start: an error there has no sender.
    if "executor" not in _worker_state:
        job = _worker_state["job"]
        _worker_state["executor"] = ShardExecutor(job, job.load_sources())
    return _worker_state["executor"].run_shard(rank)


def _server_context() -> ForkServerContext:
    """Workers are forked from a clean helper process: fast, and safe whatever threads run here."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "proxylm.compressors.registry"])
    if threading.current_thread() is threading.main_thread():
        # Workers inherit this: Ctrl-C while they start must not print their tracebacks.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, previous)
    return context


@contextmanager
def _one_thread_each() -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
