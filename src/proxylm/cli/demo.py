"""``proxylm demo``: the whole way from source files to a byte model, with one table at its end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxylm.cli.compressor import CORPUS
from proxylm.cli.options import Flags, options, within
from proxylm.cli.output import JsonOption, emit, note, table
from proxylm.printable import printable

if TYPE_CHECKING:
    from proxylm.demo.settings import DemoSettings

STANDARD_LIBRARY = "stdlib"


@options(
    settings=Flags(
        "proxylm.demo.settings:DemoSettings",
        ("minutes", *within("corpus", CORPUS.names), "compressor=compressor.kind", "seed"),
        {"corpus.path": STANDARD_LIBRARY},
    )
)
def demo(
    settings: DemoSettings,
    out: Annotated[
        Path | None, typer.Option(help="The demo's folder; default: runs/demo and the options.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train small models on the standard library's source and compare them.

    Builds a corpus, a compressor and the views, trains raw bytes, tokens (with bpe) and two proxy
    mixtures on the same number of symbols, and prints one table. Run again, it reuses what is
    there.

    Example: proxylm demo --minutes 2
    """
    from proxylm.demo.results import EXPLANATIONS
    from proxylm.demo.run import run_demo
    from proxylm.pipelines.neural_compressor import Reports
    from proxylm.training.progress import shown_on_stderr

    reports = Reports(say=note, callbacks=[shown_on_stderr()])
    result = run_demo(out or _default_folder(settings), settings, reports, _write)
    explanation = EXPLANATIONS[result.compressor]
    text = f"\n{table(*result.table())}\n\n{explanation}\n\nCurves: {result.report}"
    emit(result.to_json(), as_json=json, text=text)


def _default_folder(settings: DemoSettings) -> Path:
    """Another size, corpus, compressor or seed is another demo: each has a folder of its own."""
    standard = type(settings)()
    name = "demo"
    if settings.compressor.kind != standard.compressor.kind:
        name += f"-{settings.compressor.kind}"
    if settings.corpus.path != standard.corpus.path:
        name += f"-{Path(settings.corpus.path).resolve().name}"
    if settings.minutes != standard.minutes:
        name += f"-{settings.minutes:g}-minutes"
    if settings.seed:
        name += f"-seed-{settings.seed}"
    return Path("runs") / name


def _write(text: str) -> None:
    sys.stderr.write(printable(text, keep="\n\t"))
    sys.stderr.flush()
