"""Work on a CPU handed out to threads, an item each, in place of torch's own parallel loops.

torch divides every operation among its threads and waits for the last of them, some thousand
times a training step. Where other programs use the cores too, each of these waits can last as
long as it takes until the thread that is missing gets its turn, and those who wait spin meanwhile.
Here a thread computes a whole item alone (one context, one batch of windows) and takes the next:
nobody waits before the end. What an item's result is does not depend on who computed it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Within, torch divides the operations of this thread among ``count`` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_order(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int
) -> Iterator[Result]:
    """``map(function, items)``, ``workers`` items at a time, results in the order of the items.

    Each worker has an equal share of torch's threads, at least one, and computes in the caller's
    gradient mode and CPU autocast; one worker alone is this thread. At most ``workers + 1``
    results exist that were not taken yet.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    executor = _executor(os.getpid(), workers, max(1, torch.get_num_threads() // workers))
    gradients = torch.is_grad_enabled()
    autocast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def compute(item: Item) -> Result:
        # torch keeps these modes for each thread.
        with torch.set_grad_enabled(gradients), torch.autocast("cpu", dtype, enabled=autocast):
            return function(item)

    started: deque[Future[Result]] = deque()
    try:
        for item in items:
            started.append(executor.submit(compute, item))
            if len(started) > workers:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()
    finally:
        for future in started:
            future.cancel()


@lru_cache(maxsize=2)
def _executor(process: int, workers: int, threads_each: int) -> ThreadPoolExecutor:
    """Threads that stay; of this process, since a forked one has none of its parent's.

    Those that nobody has asked for lately end: evaluations ask for many numbers of them.
    """
    executor = ThreadPoolExecutor(
        workers,
        thread_name_prefix=f"proxylm-{process}",
        initializer=_begin,
        initargs=(threads_each,),
    )
    # The number that any thread sets last is torch's default for threads to come. All of them
    # set theirs now, and then the caller's is set again.
    before = torch.get_num_threads()
    everybody = threading.Barrier(workers)
    try:
        list(executor.map(lambda _: everybody.wait(), range(workers)))
    except BaseException:
        everybody.abort()  # a thread that waits for one that never came would hold up the exit
        raise
    finally:
        torch.set_num_threads(before)
    return executor


def _begin(threads: int) -> None:
    # Asked for the first time, a thread takes torch's default, also after a number was set.
    torch.get_num_threads()
    torch.set_num_threads(threads)
