"""``proxylm report``: runs side by side in one HTML file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from proxylm.cli.output import JsonOption, bars_or_lines, emit
from proxylm.errors import UsageError
from proxylm.printable import printable


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of training runs.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    text: Annotated[
        Path | None,
        typer.Option(
            help="Show bits of this file's characters, and its segments (of 4096 bytes at most)."
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Show what the models write after this text.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="How many completions of --prompt each.")
    ] = 3,
    analysis: Annotated[
        list[Path] | None,
        typer.Option(
            help="Draw the histograms that 'analyze stability --json' or 'analyze collisions "
            "--json' has printed into this file; may be given again."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show runs in one HTML file: curves to zoom and download, differences, what the models write.

    The file needs nothing else and no network.

    Example: proxylm report runs/demo/bytes runs/demo/proxy --prompt "def " --out report.html
    """
    from proxylm.report.histograms import histograms_of
    from proxylm.report.history import RunHistory
    from proxylm.report.page import write_report
    from proxylm.report.texts import completions_section, segments_section, surprisal_section

    histories = [RunHistory.read(run) for run in runs]
    histograms = [one for path in analysis or () for one in histograms_of(path)]
    sections = {}
    with bars_or_lines() as show:
        if text is not None:
            content = _text(text)
            sections[f"Surprisal of {text.name}"] = surprisal_section(runs, content, show)
            sections[f"Segments of {text.name}"] = segments_section(runs, content)
        if prompt is not None:
            sections["Completions"] = completions_section(
                runs, os.fsencode(prompt), range(seeds), show
            )
    write_report(histories, out, title="Training runs", further=sections, histograms=histograms)
    result = {"report": str(out), "runs": [history.name for history in histories]}
    emit(result, as_json=json, text=f"{out}: {', '.join(map(printable, result['runs']))}")


def _text(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"--text {path}: cannot be read ({error.strerror})") from None
    if not content:
        raise UsageError(f"--text {path}: is empty; give a text")
    return content
