"""One worker of ``prepare``: what it is sent, how it starts, and what ends it.

Workers are forked from a clean helper process. They share the store's open lock, and they end with
the run that started them, whatever ended it.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

from proxylm.data.store.executor import ShardExecutor
from proxylm.data.store.job import PrepareJob
from proxylm.data.store.steps import ViewSource
from proxylm.errors import UsageError, one_line
from proxylm.pool import WORKER_NUMBER

ONE_THREAD = {
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


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables for what is started within, and the former ones again afterwards."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentJob:
    """A job and the sources of its views, as workers get them.

    Attributes:
        pickled: both.
        needs_main: whether something in it is defined in the main module, which workers then have
            to import.
    """

    pickled: bytes
    needs_main: bool

    @classmethod
    def of(cls, job: PrepareJob, sources: dict[str, ViewSource]) -> SentJob:
        """Pickle a job, before any work is done.

        Raises:
            UsageError: something in it cannot be pickled, or not be found by another process.
        """
        buffer = io.BytesIO()
        pickler = _JobPickler(buffer)
        try:
            pickler.dump((job, sources))
        except Exception as error:  # objects of others fail in ways of their own
            raise UsageError(f"{job.folder}: {_CANNOT_SEND} ({one_line(error)}); {_HELP}") from None
        if pickler.of_main and not _main_can_be_imported():
            raise UsageError(
                f"{job.folder}: {_CANNOT_SEND} ({pickler.of_main} is defined in this session); "
                f"{_HELP}"
            )
        return cls(pickled=buffer.getvalue(), needs_main=bool(pickler.of_main))

    def unpickled(self) -> ShardExecutor:
        """What runs the job, in a worker.

        Raises:
            UsageError: something in it is not found here.
        """
        try:
            return ShardExecutor(*pickle.loads(self.pickled))
        except (AttributeError, ImportError) as error:
            raise UsageError(f"{_CANNOT_SEND} ({one_line(error)}); {_HELP}") from None


def _main_can_be_imported() -> bool:
    """Not so in a notebook, an interactive session, or a script that came through a pipe."""
    main = sys.modules["__main__"]
    return main.__spec__ is not None or Path(getattr(main, "__file__", "")).is_file()


_CANNOT_SEND = "a compressor or corpus cannot be handed to workers"
_HELP = "define its class at the top level of a module and keep nothing open in it, or use 1 worker"


class _JobPickler(pickle.Pickler):
    """Notes the last class or function of the main module, so that only who needs it imports it."""

    of_main = ""

    def reducer_override(self, obj: Any) -> Any:
        if getattr(obj, "__module__", None) == "__main__":
            self.of_main = getattr(obj, "__qualname__", type(obj).__qualname__)
        return NotImplemented


def leave_if_main_is_imported() -> None:
    """End a worker whose import of an unguarded main script has come to work that it would repeat.

    ``multiprocessing`` marks such a process in the same way, to refuse processes of its own.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(1)


class LockShare:
    """The store's lock on its way into a worker: as long as one lives, the lock is held."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any]]:
        return _receive_lock, (DupFd(self.descriptor),)


def _receive_lock(shared: Any) -> LockShare:
    return LockShare(shared.detach())


_worker_state: dict[str, Any] = {}


def start_worker(
    sent: SentJob,
    lifeline: Connection,
    lock: LockShare,
    numbers: SimpleQueue[int],
    threads: int,
) -> None:
    """Set up this process as a worker.

    Args:
        sent: the job.
        lifeline: closed at its other end when this process is to end.
        lock: of the store; this process holds it as long as it lives.
        numbers: gives each worker its own.
        threads: how many it may use.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides when to stop
    os.environ.update(ONE_THREAD)
    # Only torch, where a compressor brings it, has use for a core that no worker takes.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ[WORKER_NUMBER] = str(numbers.get())
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    _worker_state.update(lock=lock, sent=sent)


def _end_with(lifeline: Connection) -> None:
    # Readable only when the other end is closed: the main process stopped us, or is gone.
    lifeline.poll(None)
    os._exit(1)


def run_shard(rank: int) -> int:
    """Run one shard of the job that this process was sent; returns ``rank``."""
    # The job is unpickled by the first shard, not at the start: an error there has no sender.
    if "executor" not in _worker_state:
        _worker_state["executor"] = _worker_state["sent"].unpickled()
        del _worker_state["sent"]  # not before: the next shard of this worker must fail alike
    return _worker_state["executor"].run_shard(rank)


class _PlainWorker(ForkServerProcess):
    """A worker that does not import the main module, since nothing it gets is defined there.

    A script that does not guard its work would otherwise begin it again in every worker.
    """

    def start(self) -> None:
        main = sys.modules["__main__"]
        names = ("__file__", "__spec__")
        hidden = {name: vars(main).pop(name) for name in names if name in vars(main)}
        main.__spec__ = None
        try:
            super().start()
        finally:
            vars(main).update(hidden)


class _PlainContext(ForkServerContext):
    Process = _PlainWorker


def server_context(needs_main: bool) -> ForkServerContext:
    """Workers are forked from a clean helper process: fast, and safe whatever threads run here."""
    context = multiprocessing.get_context("forkserver") if needs_main else _PlainContext()
    context.set_forkserver_preload([__name__, "proxylm.compressors.registry"])
    if threading.current_thread() is threading.main_thread():
        # Workers inherit this: Ctrl-C while they start must not print their tracebacks.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, previous)
    return context
