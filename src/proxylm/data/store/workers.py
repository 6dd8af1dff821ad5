"""Running a job's shards in several processes, as many at a time as there is memory for.

datatrove's own executor for one machine is not used: it starts a manager process that outlives a
killed run, waits for ever for a worker that the system killed, and pickles the whole pipeline,
compressors included, for every task. Here workers get the job once, and a lost worker is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from proxylm.data.store.executor import ShardExecutor
from proxylm.data.store.worker_process import (
    ONE_THREAD,
    LockShare,
    SentJob,
    environment,
    run_shard,
    server_context,
    start_worker,
)
from proxylm.errors import DataError, ProxylmError, UsageError
from proxylm.pool import available_memory, threads_each


def run_shards(
    executor: ShardExecutor,
    sent: SentJob | None,
    workers: int,
    lock_descriptor: int,
    ranks: list[int],
    on_done: Callable[[int], None],
) -> None:
    """Run shards of a job; ``on_done(rank)`` is called after each.

    With one shard, or no ``sent`` job, everything happens in this process. The workers share
    the open store lock, so that it is held until the last of them is gone.

    Raises:
        DataError: a shard cannot be done, or a worker was killed.
        UsageError: workers cannot import the main module.
    """
    workers = min(workers, len(ranks))
    threads = threads_each(max(1, workers))
    with environment(ONE_THREAD):
        if workers <= 1 or sent is None:
            for rank in ranks:
                on_done(executor.run_shard(rank))
        else:
            _run_in_pool(executor, sent, ranks, (workers, threads), lock_descriptor, on_done)


def _run_in_pool(
    executor: ShardExecutor,
    sent: SentJob,
    ranks: list[int],
    workers_and_threads: tuple[int, int],
    lock_descriptor: int,
    on_done: Callable[[int], None],
) -> None:
    workers, threads = workers_and_threads
    context = server_context(sent.needs_main)
    lifeline, our_end = context.Pipe(duplex=False)
    numbers = context.SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    pool = ProcessPoolExecutor(
        workers,
        context,
        start_worker,
        (sent, lifeline, LockShare(lock_descriptor), numbers, threads),
    )
    # Largest first, so that no worker is left with a long part while the others are idle; but only
    # as many as there is memory for.
    parts = executor.job.parts
    ranks = sorted(ranks, key=lambda rank: (-parts[rank].num_bytes, rank))
    # Each worker has all documents of a corpus in memory: pickled, and once more as they are.
    sent_bytes = 2 * len(sent.pickled)
    needs = {rank: executor.memory_for(rank) + sent_bytes for rank in ranks}
    try:
        for rank in within_memory(
            lambda rank: _submit(pool, rank), needs, workers, available_memory()
        ):
            on_done(rank)
    except BrokenProcessPool:
        none_started = _count(numbers) == workers
        raise _lost_worker(executor.job.folder, sent, none_started=none_started) from None
    except BaseException:
        # Ctrl-C, or a shard that failed: let go of the workers at once, they lose one shard each.
        our_end.close()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        our_end.close()
        lifeline.close()


def _submit(pool: ProcessPoolExecutor, rank: int) -> Future[int]:
    try:
        return pool.submit(run_shard, rank)
    except BrokenPipeError:  # the worker ended before it had read what it is sent
        raise BrokenProcessPool from None


def _count(numbers: SimpleQueue[int]) -> int:
    count = 0
    while not numbers.empty():
        numbers.get()
        count += 1
    return count


def _lost_worker(folder: Path, sent: SentJob, *, none_started: bool) -> ProxylmError:
    if sent.needs_main and none_started:
        return UsageError(
            f"{folder}: workers import the main script for a class that is defined there, and did "
            "not get through it; put its work under 'if __name__ == \"__main__\":', or use 1 worker"
        )
    return DataError(
        f"{folder}: a worker was killed (out of memory?); "
        "run the same command again to go on, with fewer --workers if memory is short"
    )


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
