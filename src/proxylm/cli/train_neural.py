"""``proxylm compressor train neural``: byte LM, thresholds and automaton in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.compressor import (
    DEFAULT_FILES,
    DEFAULT_HELD_OUT,
    FilesOption,
    HeldOutOption,
    MaxDocumentBytesOption,
    OutOption,
    PatternOption,
    TextFieldOption,
    facts_table,
    note_left_out,
    open_corpus_at,
)
from proxylm.cli.output import JsonOption, emit, note
from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.pipelines.neural_compressor import NewLm, ReusedLm

NO_WINDOWS = "none"
DEFAULT_PRESET = "tiny"
DEFAULT_CONTEXTS = "long"


def train_neural(
    corpus: Annotated[str, typer.Option("--corpus", help="stdlib, a folder, a file or hf:NAME.")],
    out: OutOption,
    preset: Annotated[
        str | None, typer.Option(help="Size and training of the byte LM: tiny (default) or 40m.")
    ] = None,
    contexts: Annotated[
        str | None,
        typer.Option(
            help="What the byte LM is trained on: long (documents, the default) or short "
            "(fragments that start anywhere)."
        ),
    ] = None,
    symbols: Annotated[
        int | None, typer.Option(help="Bytes in the LM's training; default the preset's.", min=1)
    ] = None,
    lm: Annotated[
        Path | None,
        typer.Option("--lm", help="A neural compressor whose byte LM is used again."),
    ] = None,
    segmentation: Annotated[
        str, typer.Option(help="entropy, automaton, fixed or lines.")
    ] = "entropy",
    percentile: Annotated[
        float | None, typer.Option(help="Of entropy and automaton: above it a segment starts.")
    ] = None,
    length: Annotated[int | None, typer.Option(help="Bytes of fixed segments.")] = None,
    window_bits: Annotated[
        str, typer.Option(help="16, 32 or another multiple of --pack-bits, or none.")
    ] = "16",
    pack_bits: Annotated[int, typer.Option(help="Bits of a symbol: 8 or 16.")] = 16,
    termination: Annotated[str, typer.Option(help="determined or minimal.")] = "determined",
    pattern: PatternOption = "*",
    files: FilesOption = DEFAULT_FILES,
    text_field: TextFieldOption = "text",
    max_document_bytes: MaxDocumentBytesOption = None,
    held_out: HeldOutOption = DEFAULT_HELD_OUT,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json: JsonOption = False,
) -> None:
    """Train a byte LM and make a neural compressor of it; the same command goes on.

    Example: proxylm compressor train neural --preset tiny --corpus stdlib --out compressors/neural
    """
    from proxylm.config import validate_config
    from proxylm.pipelines.neural_compressor import (
        NeuralTraining,
        Reports,
        train_neural_compressor,
    )
    from proxylm.training.progress import shown_on_stderr

    cutting = {"kind": segmentation, "percentile": percentile, "length": length}
    coder = {
        "window_bits": _window_bits(window_bits),
        "pack_bits": pack_bits,
        "termination": {"kind": termination},
    }
    values = {
        "lm": _lm_choice(preset, contexts, symbols, lm),
        "settings": {"segmentation": _given(cutting), "coder": coder},
        "held_out_fraction": held_out,
        "device": device,
    }
    training = validate_config(NeuralTraining, values, origin="compressor train neural")
    opened = open_corpus_at(corpus, pattern, files, text_field, max_document_bytes)
    reports = Reports(say=note, callbacks=[shown_on_stderr()])
    compressor = train_neural_compressor(opened, out, training=training, reports=reports)
    note_left_out(reports.left_out)
    facts = {"path": str(out)} | compressor.describe() | {"left_out": reports.left_out.to_json()}
    emit(facts, as_json=json, text=facts_table(facts))


def _window_bits(text: str) -> Any:
    from proxylm.yaml_text import parse_value

    return None if text == NO_WINDOWS else parse_value(text, origin="--window-bits")


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _lm_choice(
    preset: str | None, contexts: str | None, symbols: int | None, lm: Path | None
) -> NewLm | ReusedLm:
    from proxylm.pipelines.neural_compressor import ReusedLm, new_lm

    if lm is None:
        return new_lm(preset or DEFAULT_PRESET, contexts or DEFAULT_CONTEXTS, symbols)
    given = _given({"--preset": preset, "--contexts": contexts, "--symbols": symbols})
    if given:
        raise UsageError(f"{next(iter(given))} is about training a byte LM, --lm takes a ready one")
    return ReusedLm(folder=lm)
