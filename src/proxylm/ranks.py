"""The processes of one run (*ranks*): which one this is, and what all of them know together.

``torchrun`` starts a process per GPU and says in its environment how many there are. A process
that it did not start, or that is the only one, is ``ALONE``: there is no process group then, and
every method answers at once. Numbers travel over gloo, also on machines with GPUs: they are few,
and on the host anyway.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from proxylm.errors import ProxylmError, one_line

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Value = TypeVar("Value")

_FROM_GLOO = re.compile("gloo/|Connection (closed|reset)|[Tt]imed out waiting")
"""What gloo's errors, plain ``RuntimeError``s, say."""

FILES_PATIENCE = 10
"""How many times the timeout of a step may pass while ranks read or write files: a checkpoint of a
large model on a slow disk is no rank that has gone."""


class RankLostError(ProxylmError):
    """Another rank of the run has ended or does not answer."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The ranks of a run as one of them sees them.

    Attributes:
        rank: this one's number, from 0.
        world: how many there are.
        on_machine: how many of them share this one's machine.
        files: the group of those that read or write files together; None of one alone.
    """

    rank: int = 0
    world: int = 1
    on_machine: int = 1
    files: ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which alone writes what there is once in a run."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.world == 1

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over all ranks, in float64: the same bits on each of them."""
        if self.is_alone:
            return list(values)
        return self._reduced(values, "SUM")

    def largest(self, value: int) -> int:
        """The largest of the ranks' values."""
        return value if self.is_alone else int(self._reduced([value], "MAX")[0])

    def any(self, flag: bool) -> bool:
        """Whether it is so on any rank."""
        return bool(self.largest(flag))

    def broadcast(self, value: Value) -> Value:
        """Rank 0's value, which can be pickled."""
        return self.gather(value if self.is_first else None)[0]  # type: ignore[return-value]

    def gather(self, value: Value) -> list[Value]:
        """The values of all ranks, in their order; they can be pickled."""
        if self.is_alone:
            return [value]
        from torch import distributed

        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value, group=self.files)
        return values

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self.gather(None)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within, each rank does its part of something; where one fails, all do.

        Raises:
            ProxylmError: the error of the first rank that failed, whichever this one is.
        """
        if self.is_alone:
            yield
            return
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        failures = self.gather(None if failure is None else _as_told(self.rank, failure))
        first = next((one for one in failures if one is not None), None)
        if first is None:
            return
        if failure is not None and failures[self.rank] is first:
            raise failure
        first.told_elsewhere = True
        raise first from failure

    def _reduced(self, values: Sequence[float], how: str) -> list[float]:
        import torch
        from torch import distributed

        tensor = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(tensor, op=getattr(distributed.ReduceOp, how))
        return tensor.tolist()


ALONE = Ranks()


def _as_told(rank: int, error: Exception) -> ProxylmError:
    """An error as other ranks can raise it."""
    if isinstance(error, ProxylmError):
        return error
    return ProxylmError(f"rank {rank}: {type(error).__name__}: {one_line(error)}")


def rank_of_environment() -> int:
    """This process's number as ``torchrun`` has set it; 0 without."""
    return int(os.environ["RANK"]) if _started_by_torchrun() else 0


def _started_by_torchrun() -> bool:
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


@contextmanager
def joined_ranks(timeout_seconds: int) -> Iterator[Ranks]:
    """Within, this process is one of those that ``torchrun`` has started, or ``ALONE``.

    Args:
        timeout_seconds: how long the others may be waited for in a step; then the run ends here.

    Raises:
        RankLostError: another rank has ended, or does not answer for so long.
    """
    if not _started_by_torchrun() or os.environ["WORLD_SIZE"] == "1":
        yield ALONE
        return
    import torch
    from torch import distributed

    backend, device = "gloo", None
    on_machine = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if torch.cuda.device_count() >= on_machine:
        backend = "cpu:gloo,cuda:nccl"
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    timeout = timedelta(seconds=timeout_seconds)
    with _lost_ranks_named():
        distributed.init_process_group(backend, timeout=timeout, device_id=device)
        ranks = Ranks(
            rank=distributed.get_rank(),
            world=distributed.get_world_size(),
            on_machine=on_machine,
            files=distributed.new_group(backend="gloo", timeout=FILES_PATIENCE * timeout),
        )
        with _quiet_but_first(ranks):
            yield ranks
        # Who leaves first takes connections along that others may still be using. After an error
        # nobody waits: the others may be gone, and the process ends.
        ranks.barrier()
        distributed.destroy_process_group()


@contextmanager
def _lost_ranks_named() -> Iterator[None]:
    """Within, what torch raises where a rank does not answer is an error in one line."""
    from torch import distributed

    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, distributed.DistError) or _FROM_GLOO.search(str(error))):
            raise
        raise RankLostError(
            f"rank {rank_of_environment()}: another rank does not answer ({one_line(error)}); the "
            "same command goes on from the newest checkpoint, if there is one"
        ) from error


@contextmanager
def _quiet_but_first(ranks: Ranks) -> Iterator[None]:
    """What all ranks would warn of is said once."""
    logger = logging.getLogger("proxylm")
    before = logger.level
    if not ranks.is_first:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def end_process(status: int) -> NoReturn:
    """End this process; one of several ranks at once, since gloo's threads can abort at the end."""
    if _started_by_torchrun():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
