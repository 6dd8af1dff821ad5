"""``proxylm inspect``: compressors, models and packed contexts on a local page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proxylm.cli.output import JsonOption, emit, note
from proxylm.cli.reading import DeviceOption
from proxylm.cli.serve import require_serving

HOST = "127.0.0.1"


def inspect(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Run folders, checkpoints, or EvaByte folders."),
    ] = None,
    compressor: Annotated[
        list[str] | None,
        typer.Option(help="A saved compressor's folder, a tokenizer's file, or a name (gzip)."),
    ] = None,
    store: Annotated[
        list[Path] | None, typer.Option(help="A folder that 'proxylm prepare' wrote.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8001,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Look at a text of your own in every compressor's view and through a model, on a local page.

    Spans, symbols and rates of every compressor, what an edit changes, strings that a neural
    compressor cannot tell apart; a model's surprisal, next bytes and drafts, read as bytes, tokens
    and mixed; packed contexts of a store. A run brings its compressor and its store along. The page
    is for this machine alone, and loads nothing from elsewhere.

    Example: proxylm inspect runs/mine --compressor gzip
    """
    require_serving("inspect", "inspect")
    from proxylm.inspector.holdings import open_holdings
    from proxylm.inspector.running import serve_page
    from proxylm.serving.lifecycle import listen

    if not (runs or compressor or store):
        note(
            "nothing given: the page shows bytes, and compressors that need no training; give run "
            "folders, --compressor or --store"
        )
    listening = listen(HOST, port)
    holdings = open_holdings(runs or [], compressor or [], store or [], device=device)
    url = f"http://{HOST}:{listening.getsockname()[1]}/"
    text = f"{url} (Ctrl-C ends it)"
    serve_page(holdings, listening, on_ready=lambda: emit({"url": url}, as_json=json, text=text))
