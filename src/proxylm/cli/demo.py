"""``proxylm demo``: the whole way from source files to a byte model, with one table at its end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from proxylm.cli.compressor import (
    DEFAULT_FILES,
    FilesOption,
    MaxDocumentBytesOption,
    PatternOption,
    TextFieldOption,
    corpus_values,
)
from proxylm.cli.output import JsonOption, emit, note, table
from proxylm.printable import printable

DEFAULT_MINUTES = 9.0
STANDARD_LIBRARY = "stdlib"
DEFAULT_COMPRESSOR = "bpe"


def demo(
    minutes: Annotated[
        float, typer.Option(help="Training time aimed at on 2 cores, all models together.")
    ] = DEFAULT_MINUTES,
    corpus: Annotated[
        str, typer.Option(help="What to train on: stdlib, a folder or a file.")
    ] = STANDARD_LIBRARY,
    pattern: PatternOption = "*",
    files: FilesOption = DEFAULT_FILES,
    text_field: TextFieldOption = "text",
    max_document_bytes: MaxDocumentBytesOption = None,
    compressor: Annotated[
        str, typer.Option(help="What the proxies are trained on: bpe or neural.")
    ] = DEFAULT_COMPRESSOR,
    out: Annotated[
        Path | None, typer.Option(help="The demo's folder; default: runs/demo and the options.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    json: JsonOption = False,
) -> None:
    """Train small models on the standard library's source and compare them.

    Builds a corpus, a compressor and the views, trains raw bytes, tokens (with bpe) and two proxy
    mixtures on the same number of symbols, and prints one table. Run again, it reuses what is
    there.

    Example: proxylm demo --minutes 2
    """
    from proxylm.config import validate_config
    from proxylm.demo.explanation import EXPLANATIONS
    from proxylm.demo.run import Narrator, run_demo
    from proxylm.demo.settings import DemoSettings
    from proxylm.training.progress import shown_on_stderr

    chosen = {"kind": compressor}
    source = corpus_values(corpus, pattern, files, text_field, max_document_bytes)
    values = {"minutes": minutes, "corpus": source, "seed": seed, "compressor": chosen}
    settings = validate_config(DemoSettings, values, origin="demo")
    narrator = Narrator(say=note, callbacks=[shown_on_stderr()], write=_write)
    folder = out or _default_folder(minutes, corpus, compressor, seed)
    result = run_demo(folder, settings, narrator)
    explanation = EXPLANATIONS[result.compressor]
    text = f"\n{table(*result.table())}\n\n{explanation}\n\nCurves: {result.report}"
    emit(result.to_json(), as_json=json, text=text)


def _default_folder(minutes: float, corpus: str, compressor: str, seed: int) -> Path:
    """Another size, corpus, compressor or seed is another demo: each has a folder of its own."""
    name = "demo"
    if compressor != DEFAULT_COMPRESSOR:
        name += f"-{compressor}"
    if corpus != STANDARD_LIBRARY:
        name += f"-{Path(corpus).resolve().name}"
    if minutes != DEFAULT_MINUTES:
        name += f"-{minutes:g}-minutes"
    if seed:
        name += f"-seed-{seed}"
    return Path("runs") / name


def _write(text: str) -> None:
    sys.stderr.write(printable(text, keep="\n\t"))
    sys.stderr.flush()
