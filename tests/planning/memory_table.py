"""The table of docs/cluster.md: memory of every size on 8, 64 and 128 GPUs, planned and traced.

``PYTHONPATH=src:tests python tests/planning/memory_table.py`` prints it, in about ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

from memory_trace import trace_step
from proxylm.models.config import ModelConfig
from proxylm.models.presets import PRESETS, preset
from proxylm.planning.machines import Machines, Passes, chosen_fit, fits
from proxylm.planning.memory import Execution, peak_memory

GPUS = (8, 64, 128)
SYMBOLS_PER_STEP, SYMBOLS_PER_PASS = 1 << 21, 1 << 14
HEADER = """\
| size | GPUs | planned, GB | traced, GB | least that fits in 72 GB: shard, recompute | GB |
|---|---|---|---|---|---|"""


def passes_of(model: ModelConfig, gpus: int) -> Passes:
    """Of a step of 2M symbols, in passes of 16 384."""
    per_pass = max(1, SYMBOLS_PER_PASS // model.context)
    return Passes.of(SYMBOLS_PER_STEP // model.context, per_pass, gpus)


def planned(model: ModelConfig, gpus: int) -> float:
    """GB of a GPU where all share and all blocks are recomputed."""
    passes = passes_of(model, gpus)
    execution = Execution(
        shard=gpus, contexts=passes.contexts, passes=passes.count, recomputed=model.layers
    )
    return peak_memory(model, execution).total / 1e9


def traced(model: ModelConfig, gpus: int) -> float:
    """The same, traced; of many passes two, which have what further ones have."""
    passes = passes_of(model, gpus)
    trace = trace_step(
        model,
        ranks=gpus,
        contexts=passes.contexts,
        recomputed=model.layers,
        passes=min(2, passes.count),
    )
    return trace.peak / 1e9


def row(name: str, gpus: int, traced_gb: float) -> str:
    """One line of the table, all but the traced memory computed."""
    model, machines = preset(name), Machines(gpus=gpus)
    fit = chosen_fit(fits(model, passes_of(model, gpus), machines), machines)
    assert fit is not None
    recompute = {0: "none", model.layers: "all"}.get(fit.recomputed, str(fit.recomputed))
    return (
        f"| {name} | {gpus} | {planned(model, gpus):.2f} | {traced_gb:.2f} | "
        f"{fit.shard}, {recompute} | {fit.memory.total / 1e9:.1f} |"
    )


def cases() -> Iterator[tuple[str, int]]:
    """The rows, in order."""
    return ((name, gpus) for name in PRESETS for gpus in GPUS)


if __name__ == "__main__":
    print(HEADER)
    for name, gpus in cases():
        print(row(name, gpus, traced(preset(name), gpus)), flush=True)
