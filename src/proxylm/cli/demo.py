"""``proxylm demo``: the whole way from source files to a byte model, with one table at its end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from proxylm.cli.output import JsonOption, emit, note, table

DEFAULT_MINUTES = 9.0
STANDARD_LIBRARY = "stdlib"


def demo(
    minutes: Annotated[
        float, typer.Option(help="Training time aimed at on 2 cores, all four models together.")
    ] = DEFAULT_MINUTES,
    corpus: Annotated[
        str, typer.Option(help="What to train on: stdlib, a folder or a file.")
    ] = STANDARD_LIBRARY,
    out: Annotated[
        Path | None, typer.Option(help="The demo's folder; default: runs/demo and the options.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    json: JsonOption = False,
) -> None:
    """Train four small models on the standard library's source and compare them.

    Builds a corpus, a BPE tokenizer and the views, trains raw bytes, tokens and two proxy mixtures
    on the same number of symbols, and prints one table. Run again, it reuses what is there.

    Example: proxylm demo --minutes 2
    """
    from proxylm.config import validate_config
    from proxylm.demo.explanation import EXPLANATION
    from proxylm.demo.results import HEADERS
    from proxylm.demo.run import Narrator, run_demo
    from proxylm.demo.settings import DemoSettings
    from proxylm.training.progress import reported_on_stderr

    values = {"minutes": minutes, "corpus": corpus, "seed": seed}
    settings = validate_config(DemoSettings, values, origin="demo")
    narrator = Narrator(say=note, training=reported_on_stderr, write=_write)
    result = run_demo(out or _default_folder(minutes, corpus, seed), settings, narrator)
    rows = [row.cells() for row in result.rows]
    text = f"\n{table(HEADERS, rows)}\n\n{EXPLANATION}\n\nCurves: {result.report}"
    emit(result.to_json(), as_json=json, text=text)


def _default_folder(minutes: float, corpus: str, seed: int) -> Path:
    """Another size, corpus or seed is another demo: each has a folder of its own."""
    name = "demo"
    if corpus != STANDARD_LIBRARY:
        name += f"-{Path(corpus).resolve().name}"
    if minutes != DEFAULT_MINUTES:
        name += f"-{minutes:g}-minutes"
    if seed:
        name += f"-seed-{seed}"
    return Path("runs") / name


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
