"""``proxylm export``: a trained model in a folder that other programs load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from proxylm.cli.output import JsonOption, emit, note


def export(
    model: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Run, checkpoint, published or exported folder."),
    ],
    to: Annotated[Literal["hf"], typer.Option(help="hf: Hugging Face transformers.")],
    out: Annotated[Path, typer.Option(help="The folder to write; must not exist.")],
    drop_compressed: Annotated[
        bool,
        typer.Option(
            "--drop-compressed", help="Leave out the compressed symbols; byte logits stay the same."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write a model as a folder that transformers loads.

    Llama-style models become plain LlamaForCausalLM; EvaByte keeps its published layout and
    brings modelling code for trust_remote_code. A model card says what the run's files know.

    Compressed symbols have no entry in tokenizer.json, so leave them out for other programs.

    Example: proxylm export runs/demo/proxy --to hf --out exported --drop-compressed
    """
    from proxylm.interchange.export import export_model
    from proxylm.symbols import COMPRESSED_OFFSET

    result = export_model(model, out, drop_compressed=drop_compressed)
    if result.dropped_heads:
        note(
            f"{result.architecture} has one prediction head: {result.dropped_heads} further ones "
            "are left out"
        )
    if result.vocabulary_size > COMPRESSED_OFFSET:
        note(
            "the compressed symbols are kept and have no entry in tokenizer.json; for programs "
            "other than transformers (vLLM, TGI, llama.cpp: not tried) add --drop-compressed"
        )
    text = (
        f"{result.folder}: {result.architecture}, {result.parameters:,} parameters, "
        f"{result.vocabulary_size} symbols"
        f"{', loads with trust_remote_code' if result.needs_remote_code else ''}"
    )
    emit(result.as_json(), as_json=json, text=text)
