"""``proxylm compressor train neural``: byte LM, thresholds and automaton in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.compressor import (
    CORPUS,
    DEFAULT_HELD_OUT,
    HeldOutOption,
    OutOption,
    facts_table,
    note_left_out,
    opened_corpus,
)
from proxylm.cli.options import Flags, flag_of, options
from proxylm.cli.output import JsonOption, bars_or_lines, emit, note
from proxylm.cli.reading import DeviceOption
from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.compressors.neural.settings import NeuralSettings
    from proxylm.corpus.config import CorpusConfig
    from proxylm.pipelines.neural_compressor import NewLm, ReusedLm

DEFAULT_PRESET = "tiny"
DEFAULT_CONTEXTS = "long"


@options(
    corpus=CORPUS,
    settings=Flags(
        "proxylm.compressors.neural.settings:NeuralSettings",
        (
            "segmentation=segmentation.kind",
            "percentile=segmentation.percentile",
            "length=segmentation.length",
            "window_bits=coder.window_bits",
            "pack_bits=coder.pack_bits",
            "termination=coder.termination.kind",
        ),
        {"segmentation.kind": "entropy"},
    ),
)
def train_neural(
    corpus: CorpusConfig,
    out: OutOption,
    settings: NeuralSettings,
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
    held_out: HeldOutOption = DEFAULT_HELD_OUT,
    device: DeviceOption = "auto",
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

    values = {
        "lm": _lm_choice(lm, preset=preset, contexts=contexts, symbols=symbols),
        "settings": settings,
        "held_out_fraction": held_out,
        "device": device,
    }
    names = {"held_out_fraction": "--held-out", "device": "--device"}
    training = validate_config(NeuralTraining, values, origin="train-neural", names=names)
    opened = opened_corpus(corpus)
    with bars_or_lines() as show:
        reports = Reports(say=note, progress=show, callbacks=[shown_on_stderr()])
        compressor = train_neural_compressor(opened, out, training=training, reports=reports)
    note_left_out(reports.left_out)
    facts = {"path": str(out)} | compressor.describe() | {"left_out": reports.left_out.to_json()}
    emit(facts, as_json=json, text=facts_table(facts))


def _lm_choice(lm: Path | None, **training: Any) -> NewLm | ReusedLm:
    from proxylm.pipelines.neural_compressor import ReusedLm, new_lm

    given = {name: value for name, value in training.items() if value is not None}
    if lm is None:
        defaults = {"preset": DEFAULT_PRESET, "contexts": DEFAULT_CONTEXTS, "symbols": None}
        return new_lm(**(defaults | given))
    if given:
        flag = flag_of(next(iter(given)))
        raise UsageError(f"{flag} is about training a byte LM, --lm takes a ready one")
    return ReusedLm(folder=lm)
