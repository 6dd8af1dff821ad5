"""``proxylm train-heads``: a model gets heads that draft several bytes ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proxylm.cli.options import OverridesArgument
from proxylm.cli.output import JsonOption
from proxylm.cli.reading import RunArgument
from proxylm.cli.train import train_and_tell


def train_heads(
    model: RunArgument,
    out: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished run goes on.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", help="View store to read; default: what the run was trained on. Repeatable."
        ),
    ] = None,
    overrides: OverridesArgument = None,
    json: JsonOption = False,
) -> None:
    """Train seven further heads on a model that stays as it is; the same command goes on.

    What it writes is the same model, bit for bit, with heads for --drafter tree, chain and lookup.
    KEY=VALUE replaces values of the recipe, as in 'train'.

    Example: proxylm train-heads runs/mine --out runs/mine-heads length.symbols=200_000
    """
    from proxylm.pipelines.train_heads import train_heads_run

    train_and_tell(train_heads_run(model, data or [], overrides or []), out, json)
