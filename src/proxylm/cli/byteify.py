"""``proxylm byteify``: a pretrained model of tokens becomes a byte model that keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proxylm.cli.options import OverridesArgument
from proxylm.cli.output import JsonOption, note
from proxylm.cli.train import train_and_tell


def byteify(
    model: Annotated[
        Path, typer.Argument(help="A model of tokens, as 'proxylm import' writes it.")
    ],
    data: Annotated[
        list[Path],
        typer.Option(
            "--data", help="View store with a view by the model's own compressor. Repeatable."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished run goes on.")],
    overrides: OverridesArgument = None,
    json: JsonOption = False,
) -> None:
    """Train a model of tokens on its tokens and raw bytes; the same command goes on.

    The recipe is that of docs/byteify.md; KEY=VALUE replaces values of it, as in 'train'.

    Example: proxylm byteify models/smollm2 --data stores/text --out runs/bytes seed=1
    """
    from proxylm.pipelines.byteify import byteify_run

    run = byteify_run(model, data, overrides or [])
    note(
        f"byteify: {run.sizes.parameter_count:,} parameters; training takes about "
        f"{run.memory_bytes / 1e9:.1f} GB of memory"
    )
    train_and_tell(run.config, out, json)
