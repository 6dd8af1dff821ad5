"""A run's plan: what it computes, shows, holds in memory and on disk, and how long it takes.

Nothing is opened but view stores that are there already, and nothing is allocated.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from proxylm.models.config import ModelConfig
from proxylm.models.flops import training_flops
from proxylm.planning.data import DataAssumptions, DataUse, data_use
from proxylm.planning.machines import Fit, Machines, Passes, fits, required_fit
from proxylm.planning.preparing import PrepareStep, StoreSize, prepare_steps, store_size
from proxylm.training.config import TrainingConfig

CHECKPOINT_BYTES = 12
"""Of each parameter: its weight and AdamW's two moments, float32."""


@dataclass(frozen=True, kw_only=True)
class Duration:
    """How long training takes at the assumed share of the peak.

    Attributes:
        seconds_per_step: of the rank that has the most contexts.
        hours: of all steps; held-out reading and checkpoints are not counted.
        gpu_hours: times the GPUs.
        symbols_per_second_per_gpu: throughput.
        busy: share of the GPUs' time in which they have a context; the rest waits for the ranks
            that have one more.
    """

    seconds_per_step: float
    hours: float
    gpu_hours: float
    symbols_per_second_per_gpu: float
    busy: float


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """All of it.

    Attributes:
        model: sizes, the vocabulary of the data's compressor included.
        machines: what it is planned for.
        steps, symbols: of the run.
        flops_per_symbol: operations of forward and backward, over layouts like the run's.
        data: what the run shows.
        passes: what a rank computes in an update.
        fit: how ranks share and recompute, and what a GPU then holds.
        ways: the fewest recomputed blocks for every number of ranks that can share.
        duration: of training.
        preparing: what has to be computed before.
        stores: bytes on disk.
        checkpoint_bytes, checkpoints: of one, and how many stay.
    """

    model: ModelConfig
    machines: Machines
    steps: int
    symbols: int
    flops_per_symbol: float
    data: DataUse
    passes: Passes
    fit: Fit
    ways: list[Fit]
    duration: Duration
    preparing: list[PrepareStep]
    stores: list[StoreSize]
    checkpoint_bytes: int
    checkpoints: int

    @property
    def flops(self) -> float:
        """Operations of the whole run."""
        return self.flops_per_symbol * self.symbols

    def as_json(self) -> dict[str, Any]:
        """Plain values, as ``proxylm plan --json`` prints them."""
        data = self.data
        return {
            "parameters": self.model.parameter_count,
            "vocabulary_size": self.model.vocabulary_size,
            "steps": self.steps,
            "symbols": self.symbols,
            "flops": {
                "per_symbol": self.flops_per_symbol,
                "per_step": self.flops / self.steps,
                "total": self.flops,
            },
            "data": {
                "raw_symbols": data.raw_symbols,
                "compressed_symbols": data.compressed_symbols,
                "special_symbols": data.special_symbols,
                "padding": data.padding,
                "raw_bytes": data.raw_bytes,
                "sources": [
                    {
                        "store": shown.source.name,
                        "view": shown.source.view,
                        "is_there": shown.source.store is not None,
                        "bytes_per_symbol": shown.source.rho,
                        "documents": shown.documents,
                        "raw_bytes": shown.raw_bytes,
                        "epochs": shown.epochs,
                    }
                    for shown in data.sources
                ],
            },
            "machines": self.machines.model_dump(mode="json")
            | {
                "peak_flops": self.machines.kind.peak_flops,
                "memory": self.machines.kind.memory,
                "source": self.machines.kind.source,
            },
            "memory": _fit_json(self.fit)
            | {"contexts_per_pass": self.passes.contexts, "passes_per_step": self.passes.count},
            "ways": [_fit_json(way) for way in self.ways],
            "duration": asdict(self.duration),
            "preparing": [step.as_json() for step in self.preparing],
            "disk": {
                "stores": [store.as_json() for store in self.stores],
                "checkpoint": self.checkpoint_bytes,
                "checkpoints": self.checkpoints,
                "run": self.checkpoint_bytes * self.checkpoints,
            },
        }


def plan_run(config: TrainingConfig, machines: Machines, assumptions: DataAssumptions) -> RunPlan:
    """Plan a run.

    Args:
        config: the run; where it says ``parallel``, that is how ranks share and recompute.
        machines: what it runs on.
        assumptions: about stores that are not there yet.

    Raises:
        UsageError: it does not fit, or nothing is known of a view.
        DataError: a store that is there cannot be used.
    """
    data = data_use(config, assumptions)
    model = config.model_for(data.symbol_count)
    per_pass = config.contexts_per_pass(config.context)
    passes = Passes.of(config.contexts_per_step, per_pass, machines.gpus)
    says = "parallel" in config.model_fields_set
    fit = required_fit(model, passes, machines, config.parallel if says else None)
    flops_per_symbol = training_flops(model, data.layouts) / data.layouts.size
    symbols = config.symbols_per_step * config.total_steps
    return RunPlan(
        model=model,
        machines=machines,
        steps=config.total_steps,
        symbols=symbols,
        flops_per_symbol=flops_per_symbol,
        data=data,
        passes=passes,
        fit=fit,
        ways=fits(model, passes, machines),
        duration=_duration(config, machines, flops_per_symbol),
        preparing=[step for shown in data.sources for step in prepare_steps(shown, machines)],
        stores=[store_size(shown, assumptions.mean_bytes) for shown in data.sources],
        checkpoint_bytes=CHECKPOINT_BYTES * model.parameter_count,
        checkpoints=_checkpoints(config),
    )


def _duration(config: TrainingConfig, machines: Machines, flops_per_symbol: float) -> Duration:
    contexts = config.contexts_per_step
    most = -(-contexts // machines.gpus)
    flops = flops_per_symbol * config.context * most
    seconds = flops / (machines.kind.peak_flops * machines.mfu)
    hours = seconds * config.total_steps / 3600
    return Duration(
        seconds_per_step=seconds,
        hours=hours,
        gpu_hours=hours * machines.gpus,
        symbols_per_second_per_gpu=config.symbols_per_step / seconds / machines.gpus,
        busy=contexts / (most * machines.gpus),
    )


def _checkpoints(config: TrainingConfig) -> int:
    """Checkpoints that stay at the end: the newest, and milestones that are none of those."""
    saving = config.checkpoints
    steps = config.total_steps
    every, milestones = (
        range(period, steps + 1, period) if period else range(0)
        for period in (saving.every_steps, saving.keep_every_steps)
    )
    newest = sorted({*every, *milestones, steps})[-saving.keep_last :]
    return len({*newest, *milestones})


def _fit_json(fit: Fit) -> dict[str, Any]:
    return {
        "shard": fit.shard,
        "recomputed": fit.recomputed,
        "moment": fit.memory.moment,
        "parts": fit.memory.parts(),
        "total": fit.memory.total,
    }
