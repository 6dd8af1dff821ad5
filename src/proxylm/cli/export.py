"""``proxylm export``: a trained model in a folder that other programs load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from proxylm.cli.output import JsonOption, bars_or_lines, emit, note

if TYPE_CHECKING:
    from proxylm.interchange.export import ExportResult


def export(
    model: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Run, checkpoint, published or exported folder."),
    ],
    to: Annotated[
        Literal["hf", "gguf"],
        typer.Option(help="hf: Hugging Face transformers. gguf: one file for llama.cpp."),
    ],
    out: Annotated[Path, typer.Option(help="The folder or file to write; must not exist.")],
    vocabulary: Annotated[
        Literal["bytes", "both", "tokens"] | None,
        typer.Option(
            help="Which symbols go along: bytes alone, both (default of hf), or of an imported "
            "model its tokens alone, as it came. gguf has bytes alone."
        ),
    ] = None,
    weights: Annotated[
        Literal["f32", "f16", "bf16", "q8_0"],
        typer.Option(help="How matrices are stored; other than f32 for gguf alone."),
    ] = "f32",
    json: JsonOption = False,
) -> None:
    """Write a model for transformers (hf) or llama.cpp (gguf).

    Causal models become what their family is there: plain LlamaForCausalLM, and of imported ones
    Qwen2, Qwen3 and OLMo 2. EvaByte keeps its published layout and brings modelling code for
    trust_remote_code. A model card says what the run's files know.

    Compressed symbols have no entry in tokenizer.json, so leave them out for other programs.

    Example: proxylm export runs/demo/proxy --to hf --out exported --vocabulary bytes
    """
    from proxylm.errors import UsageError
    from proxylm.interchange.export import export_model
    from proxylm.interchange.gguf_export import WeightType, export_gguf
    from proxylm.interchange.vocabulary import Vocabulary

    if to == "gguf":
        if vocabulary not in (None, Vocabulary.BYTES):
            raise UsageError(f"--vocabulary {vocabulary}: --to gguf writes the byte vocabulary")
        with bars_or_lines() as show:
            result = export_gguf(model, out, weights=WeightType(weights), progress=show)
    elif weights != WeightType.F32:
        raise UsageError(f"--weights {weights}: --to hf writes f32")
    else:
        chosen = Vocabulary(vocabulary or Vocabulary.BOTH)
        with bars_or_lines() as show:
            result = export_model(model, out, vocabulary=chosen, progress=show)
        if chosen is Vocabulary.BOTH and result.has_compressed_symbols:
            note(
                "the compressed symbols are kept and have no entry in tokenizer.json; for programs "
                "other than transformers (vLLM, TGI: not tried) add --vocabulary bytes"
            )
    _tell(result, as_json=json)


def _tell(result: ExportResult, *, as_json: bool) -> None:
    if result.dropped_heads:
        note(
            f"{result.architecture} has one prediction head: {result.dropped_heads} further ones "
            "are left out"
        )
    text = (
        f"{result.folder}: {result.architecture}, {result.parameters:,} parameters, "
        f"{result.vocabulary_size} symbols"
        f"{', loads with trust_remote_code' if result.needs_remote_code else ''}"
    )
    emit(result.as_json(), as_json=as_json, text=text)
