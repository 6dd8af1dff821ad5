"""Making a plan's artifacts: in order, several at a time, and each by one process only.

What is finished has a record and is only read. Whatever stops an engine, another one goes on with
what it left: a run from its last checkpoint, everything else from its start. Two engines on one
pool share the work: an artifact belongs to who holds its lock, which the system frees when that
process ends.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from types import FrameType
from typing import Any

from proxylm.errors import ProxylmError
from proxylm.files import read_json, remove_temporaries, write_json
from proxylm.pool import WORKER_NUMBER
from proxylm.progress import TellCount, untold
from proxylm.recipes.artifacts import Artifact, Say
from proxylm.threads import torch_threads

SECONDS_BETWEEN_LOOKS = 1.0

CPU_SECONDS = "cpu_seconds"
"""Key of a record: what making it took, children and units that were stopped included."""

MADE_BY = "made_by"
"""Key of a record: the version of proxylm, and its commit where it runs from a checkout."""

Settle = Callable[[Artifact, Path], "Future[bool]"]
"""Begins ``settle`` of an artifact, here or in another process."""


def make_all(
    artifacts: Sequence[Artifact],
    pool: Path,
    *,
    jobs: int = 1,
    say: Say = lambda _: None,
    made: Callable[[], None] = lambda: None,
    progress: TellCount = untold,
) -> None:
    """Make what is not there yet.

    Each is computed with one thread, so that it does not depend on how many are made at a time.

    Args:
        artifacts: what others need before them.
        pool: the folder that holds all of them.
        jobs: how many at a time.
        say: hears what is begun.
        made: called whenever something is finished.
        progress: hears how much of all is there.

    Raises:
        ProxylmError: something cannot be made; what else was under way is finished first.
    """
    left = {one.key: one for one in artifacts if not one.is_settled(pool)}
    say(f"{len(artifacts) - len(left)} of {len(artifacts)} artifacts are there already")
    progress("artifacts", len(artifacts) - len(left), len(artifacts))
    running: dict[Future[bool], Artifact] = {}
    told: set[str] = set()
    with _workers(jobs) as begin, _named_if_killed(running):
        while left:
            for one in _ready(left, running)[: jobs - len(running)]:
                if one.key not in told:  # what another process makes is asked for again and again
                    say(_named(one))
                    told.add(one.key)
                running[begin(one, pool)] = one
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            ours = [_was_ours(future, running, left) for future in done]
            if any(ours):
                progress("artifacts", len(artifacts) - len(left), len(artifacts))
                made()
            else:
                time.sleep(SECONDS_BETWEEN_LOOKS)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Within, SIGTERM is what Ctrl-C is: whatever is under way saves, or cleans up, and ends.

    A terminal's Ctrl-C goes to workers by itself; SIGTERM is handed on to them.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        for worker in multiprocessing.active_children():
            worker.terminate()
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _ready(left: dict[str, Artifact], running: dict[Future[bool], Artifact]) -> list[Artifact]:
    busy = {one.key for one in running.values()}
    return [
        one
        for key, one in left.items()
        if key not in busy and not any(need.key in left for need in one.needs)
    ]


def _named(artifact: Artifact) -> str:
    return f"{artifact.kind}: {artifact.name}"


@contextmanager
def _named_if_killed(running: dict[Future[bool], Artifact]) -> Iterator[None]:
    """Where a worker is killed, name all that was under way: nothing says which one it made."""
    try:
        yield
    except BrokenProcessPool:
        names = ", ".join(map(_named, running.values())) or "nothing"
        raise ProxylmError(
            f"a process was killed, perhaps for memory; under way: {names}; the same command goes "
            "on, with fewer --jobs if need be"
        ) from None


def settle(artifact: Artifact, pool: Path, say: Say = lambda _: None) -> bool:
    """Make an artifact unless it is there; False where another process is making it."""
    artifact.folder(pool).parent.mkdir(parents=True, exist_ok=True)
    with _locked(artifact.lock_file(pool)) as is_ours:
        if not is_ours:
            return False
        if not artifact.is_settled(pool):
            started = time.perf_counter()
            folder = artifact.folder(pool)
            remove_temporaries(folder.parent, folder.name)
            with torch_threads(1), _cpu_seconds(artifact.cpu_file(pool)) as cpu_seconds:
                record = artifact.make(pool, say)
            about = {
                "name": artifact.name,
                "key": artifact.key,
                "needs": _needs(artifact),
                MADE_BY: made_by(),
                "seconds_to_make": time.perf_counter() - started,
                CPU_SECONDS: cpu_seconds(),
            }
            write_json(artifact.record_file(pool), about | record)
            artifact.cpu_file(pool).unlink(missing_ok=True)
        return True


@cache
def made_by() -> str:
    """The version of proxylm, with its commit where it runs from a checkout."""
    checkout = Path(__file__).parents[3]
    if not (checkout / ".git").exists():
        return version("proxylm")
    words = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    with suppress(FileNotFoundError):  # there is no git
        commit = subprocess.run(words, capture_output=True, text=True).stdout.strip()
        return f"{version('proxylm')} ({commit})"
    return version("proxylm")


@contextmanager
def _cpu_seconds(tally: Path) -> Iterator[Callable[[], float]]:
    """A function that gives the CPU seconds since, beside those that units before have left.

    A unit that is stopped leaves its own; one that is killed at once does not.
    """
    before = float(read_json(tally)) if tally.is_file() else 0.0
    started = sum(os.times()[:4])  # of this process and its children

    def spent() -> float:
        return before + sum(os.times()[:4]) - started

    try:
        yield spent
    except BaseException:  # a signal that stops a training arrives as KeyboardInterrupt
        write_json(tally, spent())
        raise


def _needs(artifact: Artifact) -> dict[str, Any]:
    return {one.name: one.key for one in artifact.needs}


def _was_ours(
    future: Future[bool], running: dict[Future[bool], Artifact], left: dict[str, Artifact]
) -> bool:
    """Whether an artifact that was begun is made now; else another process is at it."""
    artifact = running[future]
    try:
        made = future.result()
    except ProxylmError as error:
        raise ProxylmError(f"{_named(artifact)}: {error}") from error
    del running[future]
    del left[artifact.key]
    if not made:
        left[artifact.key] = artifact  # after all others
    return made


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a lock file, which says who does; False where another process holds it."""
    with path.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        lock.truncate(0)
        lock.write(f"{socket.gethostname()} {os.getpid()}\n")
        lock.flush()
        yield True


@contextmanager
def _workers(jobs: int) -> Iterator[Settle]:
    if jobs == 1:
        yield _settled_here
        return
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(jobs):
        numbers.put(number)
    with ProcessPoolExecutor(jobs, context, _begin_worker, (numbers,)) as executor:
        yield lambda artifact, pool: executor.submit(settle, artifact, pool)


def _settled_here(artifact: Artifact, pool: Path) -> Future[bool]:
    future: Future[bool] = Future()
    try:
        future.set_result(settle(artifact, pool))
    except ProxylmError as error:
        future.set_exception(error)
    return future


def _begin_worker(numbers: SimpleQueue[int]) -> None:
    """Take a number, by which GPUs are shared out, and end with the process that began this one."""
    os.environ[WORKER_NUMBER] = str(numbers.get())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is under way cleans up
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is a worker"
    parent.join()
    os._exit(1)
