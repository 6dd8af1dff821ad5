"""``proxylm import``: a pretrained model of another program, as one of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proxylm.cli.output import JsonOption, bars_or_lines, emit

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Without a callback, typer would promote a single command to the root."""


@app.command("hf")
def import_hf(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder as transformers has them (config.json, safetensors, tokenizer.json), or "
            "a .gguf file."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write; must not exist.")],
    byte_rows: Annotated[
        str,
        typer.Option(
            help="What the rows of raw bytes begin as: random, the single token of that byte, "
            "the mean of the tokens that begin with it first, or a fit to the tokens' rows."
        ),
    ] = "single",
    json: JsonOption = False,
) -> None:
    """Import a Llama, Qwen2, Qwen3 or OLMo 2 model with its tokenizer.

    Its tokens are read and written as the compressed view (--read-as tokens). Raw bytes are new
    to it: it has to be trained on them before it can be read as bytes.

    Example: proxylm import hf smollm2.gguf --out models/smollm2
    """
    from proxylm.errors import UsageError
    from proxylm.interchange.byte_rows import ByteRows
    from proxylm.interchange.importing import import_model

    if byte_rows not in list(ByteRows):
        raise UsageError(f"--byte-rows {byte_rows}: choose one of {', '.join(ByteRows)}")
    with bars_or_lines() as show:
        result = import_model(source, out, rows=ByteRows(byte_rows), progress=show)
    text = (
        f"{out}: {result.parameters:,} parameters, {result.layers} layers of width "
        f"{result.width}, {result.tokens} tokens"
    )
    emit(result.as_json(), as_json=json, text=text)
