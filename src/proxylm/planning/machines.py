"""The machines of a plan, and how a model fits on them: the fewest ranks to shard over, and the
fewest blocks to recompute."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, PositiveInt

from proxylm.config import Config
from proxylm.errors import UsageError
from proxylm.gpus import GPUS, Gpu, GpuName
from proxylm.models.config import ModelConfig
from proxylm.planning.memory import Execution, MemoryUse, peak_memory
from proxylm.ranks import Ranks
from proxylm.training.config import ParallelConfig
from proxylm.training.sharding import shards_of

Share = Annotated[float, Field(gt=0, le=1)]


class Machines(Config):
    """What a run is planned for.

    Attributes:
        gpus: GPUs that train.
        gpu: their kind (proxylm/gpus.py has the data sheets' numbers).
        gpus_per_node: GPUs in one machine.
        mfu: share of the GPUs' peak that goes into operations that the model needs, recomputed
            ones not counted; this project has measured 0.34 to 0.36 (0.5B, one H100, a context of
            16 384).
        usable: share of a GPU's memory that the plan may fill; the rest is for the allocator's
            gaps, libraries and communication.
    """

    gpus: PositiveInt = 8
    gpu: GpuName = "h100"
    gpus_per_node: PositiveInt = 8
    mfu: Share = 0.35
    usable: Share = 0.9

    @property
    def kind(self) -> Gpu:
        """The numbers of one GPU."""
        return GPUS[self.gpu]

    @property
    def usable_memory(self) -> int:
        """Bytes of one GPU that a plan may fill."""
        return int(self.usable * self.kind.memory)

    @property
    def shards(self) -> list[int]:
        """Numbers of ranks that can share one copy: powers of two that divide the GPUs, and all."""
        powers = (1 << power for power in range(self.gpus.bit_length()))
        return sorted({shard for shard in powers if self.gpus % shard == 0} | {self.gpus})

    def holds(self, fit: Fit) -> bool:
        """Whether a GPU has room for it."""
        return fit.memory.total <= self.usable_memory

    @property
    def ranks(self) -> Ranks:
        """The GPUs as the ranks of a run."""
        return Ranks(world=self.gpus, on_machine=min(self.gpus, self.gpus_per_node))


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One way to share and recompute.

    Attributes:
        shard: ranks that hold one copy of weights, gradients and optimizer state together.
        recomputed: blocks that backward computes again.
        memory: what a GPU then holds at the worst moment.
    """

    shard: int
    recomputed: int
    memory: MemoryUse


@dataclass(frozen=True, kw_only=True)
class Passes:
    """What a rank computes in an update.

    Attributes:
        contexts: of one pass.
        count: passes.
    """

    contexts: int
    count: int

    @classmethod
    def of(cls, contexts_per_step: int, contexts_per_pass: int, gpus: int) -> Passes:
        """Of the rank that has the most contexts."""
        own = -(-contexts_per_step // gpus)
        contexts = min(contexts_per_pass, own)
        return cls(contexts=contexts, count=-(-own // contexts))


def fits(model: ModelConfig, passes: Passes, machines: Machines) -> list[Fit]:
    """For every number of ranks that share, the fewest recomputed blocks with which it fits.

    Those that do not fit with all blocks recomputed are left out.
    """
    least = [_least(model, passes, machines, shard) for shard in machines.shards]
    return [fit for fit in least if machines.holds(fit)]


def _least(model: ModelConfig, passes: Passes, machines: Machines, shard: int) -> Fit:
    """The fewest recomputed blocks that fit, or all: each of them takes less memory."""

    def fit(recomputed: int) -> Fit:
        return _fit(model, passes, machines, shard, recomputed)

    return fit(bisect_left(range(model.layers), True, key=lambda n: machines.holds(fit(n))))


def chosen_fit(found: Sequence[Fit], machines: Machines) -> Fit | None:
    """The fewest recomputed blocks with ranks of one machine sharing; else the fewest ranks.

    Weights are gathered fast inside a machine, and recomputation costs up to a third more
    operations: there more ranks are better, and between machines fewer.
    """
    inside = [fit for fit in found if fit.shard <= machines.gpus_per_node]
    if inside:
        return min(inside, key=lambda fit: (fit.recomputed, fit.shard))
    return next(iter(found), None)


def required_fit(
    model: ModelConfig, passes: Passes, machines: Machines, parallel: ParallelConfig | None
) -> Fit:
    """The chosen way to share and recompute, or the one that a run's settings name.

    Args:
        model: what is trained.
        passes: what a rank computes.
        machines: where.
        parallel: the settings; None to choose.

    Raises:
        UsageError: it does not fit; the message has the numbers.
    """
    if parallel is None:
        chosen = chosen_fit(fits(model, passes, machines), machines)
        fit = chosen or _fit(model, passes, machines, machines.gpus, model.layers)
    else:
        shard = shards_of(machines.ranks, parallel)
        fit = _fit(model, passes, machines, shard, parallel.recomputed_of(model.layers))
    if not machines.holds(fit):
        raise UsageError(_too_much(model, fit, passes, machines, least=parallel is None))
    return fit


def _fit(
    model: ModelConfig, passes: Passes, machines: Machines, shard: int, recomputed: int
) -> Fit:
    execution = Execution(
        shard=shard,
        alone=machines.gpus == 1,
        contexts=passes.contexts,
        passes=passes.count,
        recomputed=recomputed,
    )
    return Fit(shard=shard, recomputed=recomputed, memory=peak_memory(model, execution))


def _too_much(
    model: ModelConfig, fit: Fit, passes: Passes, machines: Machines, *, least: bool
) -> str:
    parts = ", ".join(
        f"{name} {size / 1e9:.1f}" for name, size in fit.memory.parts().items() if size >= 5e7
    )
    how = "take more of them" if least else "or leave parallel out: the plan then chooses"
    fewer = ", a smaller micro_batch_symbols" if passes.contexts > 1 else ""
    return (
        f"model: {model.parameter_count:,} parameters do not fit: sharded over {fit.shard} of "
        f"{machines.gpus} GPUs with {fit.recomputed} of {model.layers} blocks recomputed, each "
        f"needs {fit.memory.total / 1e9:.1f} GB ({parts}) and may fill "
        f"{machines.usable_memory / 1e9:.1f} of the {machines.kind.memory / 1e9:.0f} GB of one "
        f"{machines.gpu}; {how}{fewer}, or larger ones"
    )
