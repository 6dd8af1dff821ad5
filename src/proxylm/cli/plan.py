"""``proxylm plan``: what a run takes, before anything is spent on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxylm.cli.options import ConfigArgument, Flags, OverridesArgument, options
from proxylm.cli.output import JsonOption, emit, table

if TYPE_CHECKING:
    from proxylm.planning.data import DataAssumptions
    from proxylm.planning.machines import Machines
    from proxylm.planning.plan import RunPlan

_MACHINES = ("gpus", "gpu", "gpus_per_node", "mfu", "usable")
_ASSUMPTIONS = ("rho", "symbol_count", "mean_bytes", "data_bytes")


@options(
    machines=Flags("proxylm.planning.machines:Machines", _MACHINES, panel="Machines"),
    assumptions=Flags(
        "proxylm.planning.data:DataAssumptions", _ASSUMPTIONS, panel="Data without a store"
    ),
)
def plan(
    config: ConfigArgument,
    machines: Machines,
    assumptions: DataAssumptions,
    overrides: OverridesArgument = None,
    json: JsonOption = False,
) -> None:
    """Plan a run: memory, operations, data, disk and hours; nothing is allocated or written.

    Where the configuration leaves 'parallel' out, the fewest recomputed blocks that fit with the
    GPUs of one machine sharing the weights are chosen.

    Example: proxylm plan paper/table1/7b-proxy-tokenizer --gpus 64 --gpu h100 --mfu 0.4
    """
    from proxylm.config import load_config
    from proxylm.planning.plan import plan_run
    from proxylm.training.config import TrainingConfig

    run_config = load_config(TrainingConfig, config, overrides or [])
    planned = plan_run(run_config, machines, assumptions)
    result = {"config": str(config), **planned.as_json()}
    emit(result, as_json=json, text="\n\n".join(_sections(planned)))


def _sections(planned: RunPlan) -> list[str]:
    return [
        _work(planned),
        _memory(planned),
        _data(planned),
        _disk(planned),
        *([_preparing(planned)] if planned.preparing else []),
    ]


def _work(planned: RunPlan) -> str:
    machines, duration = planned.machines, planned.duration
    rows = [
        ["parameters", f"{planned.model.parameter_count:,}"],
        ["steps", f"{planned.steps:,}"],
        ["symbols", f"{planned.symbols:,}"],
        ["operations per symbol", f"{planned.flops_per_symbol:.4g}"],
        ["operations per step", f"{planned.flops / planned.steps:.4g}"],
        ["operations in all", f"{planned.flops:.4g}"],
        ["seconds per step", f"{duration.seconds_per_step:.2f}"],
        ["symbols per second and GPU", f"{duration.symbols_per_second_per_gpu:,.0f}"],
        ["days of training", f"{duration.hours / 24:.2f}"],
        ["GPU-hours", f"{duration.gpu_hours:,.0f}"],
    ]
    shown = table([f"{machines.gpus} {machines.gpu} at {machines.mfu:g} of the peak", ""], rows)
    if duration.busy < 1:
        shown += f"\nGPUs have a context {duration.busy:.0%} of the time: a step has few for them"
    return shown


def _memory(planned: RunPlan) -> str:
    fit, machines, passes = planned.fit, planned.machines, planned.passes
    rows = [[name, f"{size / 1e9:.2f}"] for name, size in fit.memory.parts().items()]
    rows.append(["all", f"{fit.memory.total / 1e9:.2f}"])
    ways = [
        [str(way.shard), _recompute(planned, way.recomputed), f"{way.memory.total / 1e9:.2f}"]
        for way in planned.ways
    ]
    layers = planned.model.layers
    return "\n".join(
        [
            table([f"memory of a GPU ({fit.memory.moment})", "GB"], rows),
            f"parallel: {{shard: {fit.shard}, recompute: {_recompute(planned, fit.recomputed)}}}, "
            f"{passes.count} passes of {passes.contexts} contexts; "
            f"{machines.usable_memory / 1e9:.1f} GB may be filled",
            "",
            table(["ranks that share", f"least recomputed of {layers}", "GB"], ways),
        ]
    )


def _recompute(planned: RunPlan, blocks: int) -> str:
    """As ``parallel.recompute`` says it."""
    return {0: "none", planned.model.layers: "all"}.get(blocks, str(blocks))


def _data(planned: RunPlan) -> str:
    data = planned.data
    rows = [
        [
            shown.source.name + ("" if shown.source.store else " (not there)"),
            shown.source.view or "bytes",
            "-" if shown.source.rho is None else f"{shown.source.rho:.3g}",
            f"{shown.documents:,}",
            f"{shown.raw_bytes / 1e9:,.2f}",
            "-" if shown.epochs is None else f"{shown.epochs:.3g}",
        ]
        for shown in data.sources
    ]
    headers = ["shown of", "view", "bytes per symbol", "documents", "raw GB", "epochs"]
    shares = ", ".join(
        f"{getattr(data, kind) / planned.symbols:.2%} {kind.removesuffix('_symbols')}"
        for kind in ("raw_symbols", "compressed_symbols", "special_symbols", "padding")
    )
    return f"{table(headers, rows)}\nsymbols: {shares}"


def _disk(planned: RunPlan) -> str:
    rows = [
        [f"{store.store}{'' if store.is_there else ' (computed)'}", f"{store.num_bytes / 1e9:,.2f}"]
        for store in planned.stores
    ]
    one = planned.checkpoint_bytes
    many = planned.checkpoints
    rows.append([f"{many} checkpoints of {one / 1e9:,.2f}", f"{many * one / 1e9:,.2f}"])
    return table(["on disk", "GB"], rows)


def _preparing(planned: RunPlan) -> str:
    rows = [
        [
            f"{step.store}, {step.view}",
            step.work,
            f"1 {step.device}",
            f"{step.hours:,.1f}",
            step.basis,
        ]
        for step in planned.preparing
    ]
    return table(["preparing", "", "device", "hours", "speed"], rows)
