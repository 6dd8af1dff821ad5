"""``proxylm train``: train a model, or go on with a run that stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxylm.cli.options import ConfigArgument, OverridesArgument
from proxylm.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from proxylm.training.callbacks import Callback
    from proxylm.training.config import TrainingConfig
    from proxylm.training.run import TrainResult


def train(
    config: ConfigArgument,
    out: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished run goes on.")],
    overrides: OverridesArgument = None,
    wandb: Annotated[
        str | None,
        typer.Option(help="Project of Weights & Biases that the metrics are sent to as well."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train a model; the same command goes on where a stopped run was.

    Example: proxylm train tiny seed=1 --out runs/tiny
    """
    from proxylm.config import load_config
    from proxylm.training.config import TrainingConfig

    train_and_tell(load_config(TrainingConfig, config, overrides or []), out, json, wandb)


def train_and_tell(config: TrainingConfig, out: Path, json: bool, wandb: str | None = None) -> None:
    """Train to the end of a run; of several ranks the first one says what came of it."""
    from proxylm.ranks import rank_of_environment
    from proxylm.training.progress import shown_on_stderr
    from proxylm.training.run import train as run_training

    speaks = rank_of_environment() == 0
    watchers: list[Callback] = [shown_on_stderr()] if speaks else []
    if wandb is not None and speaks:
        from proxylm.training.weights_and_biases import WeightsAndBiases

        watchers.append(WeightsAndBiases(wandb))
    result = run_training(config, out, watchers)
    if speaks:
        emit(result.as_json(), as_json=json, text=_summary(result))


def _summary(result: TrainResult) -> str:
    lines = [
        f"{result.run}: {result.steps} steps, {result.symbols:,} symbols in "
        f"{result.seconds:.1f} s ({result.symbols_per_second:,.0f} symbols/s)",
        f"last loss {result.loss:.4f} nats per symbol; {result.parameters:,} parameters; "
        f"{result.training_flops:.3g} FLOPs",
        f"shown: {result.raw_bytes:,} raw bytes of {result.documents:,} documents",
    ]
    for name, bits in result.held_out.items():
        lines.append(f"held out, read as {name}: {bits:.4f} bits per byte")
    return "\n".join(lines)
