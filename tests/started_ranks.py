"""Ranks for tests: processes with the environment that ``torchrun`` gives, started in no time.

They are forked from a process that has torch and the trainer loaded, once per test session.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

PRELOADED = ["warm_trainer"]
PATIENCE_SECONDS = 240


@cache
def _context() -> ForkServerContext:
    # The server imports what it preloads before it is told our path.
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@dataclass(frozen=True)
class Rank:
    """One started rank."""

    process: BaseProcess
    answer: Connection

    def result(self) -> Any:
        """What its function has returned; an error where it has raised or was killed."""
        if not self.answer.poll(PATIENCE_SECONDS):
            raise TimeoutError("a rank does not end")
        succeeded, value = self.answer.recv()
        self.process.join(PATIENCE_SECONDS)
        if not succeeded:
            raise RankError(value)
        return value

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


class RankError(Exception):
    """A rank's function has raised; the text is its traceback."""


def start_ranks(world: int, function: Callable[..., Any], *arguments: Any) -> list[Rank]:
    """Start ``world`` processes that call ``function(*arguments)``, as ``torchrun`` would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in range(world):
        environment = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": world,
            "LOCAL_WORLD_SIZE": world,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "OMP_NUM_THREADS": 1,
            "GLOO_SOCKET_IFNAME": "lo",
        }
        ours, theirs = _context().Pipe()
        process = _context().Process(
            target=_run, args=(theirs, environment, function, arguments), daemon=True
        )
        process.start()
        theirs.close()
        ranks.append(Rank(process, ours))
    return ranks


def run_ranks(world: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The results of all ranks, in their order."""
    return [rank.result() for rank in start_ranks(world, function, *arguments)]


@contextmanager
def ended(ranks: list[Rank]) -> Iterator[None]:
    """Afterwards none of them is left, however they were."""
    try:
        yield
    finally:
        for rank in ranks:
            rank.process.kill()
            rank.process.join()


def _run(
    answer: Connection,
    environment: dict[str, object],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    os.environ |= {name: str(value) for name, value in environment.items()}
    try:
        told = (True, function(*arguments))
    except BaseException:
        told = (False, traceback.format_exc())
    answer.send(told)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
