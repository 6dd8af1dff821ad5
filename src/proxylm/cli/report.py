"""``proxylm report``: the curves of runs side by side in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proxylm.cli.output import JsonOption, emit
from proxylm.printable import printable


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of training runs.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    json: JsonOption = False,
) -> None:
    """Draw the loss and the held-out bits per byte of runs into one HTML file.

    Example: proxylm report runs/demo/bytes runs/demo/proxy --out report.html
    """
    from proxylm.analysis.report import RunHistory, write_report

    histories = [RunHistory.read(run) for run in runs]
    write_report(histories, out, title="Training runs")
    result = {"report": str(out), "runs": [history.name for history in histories]}
    emit(result, as_json=json, text=f"{out}: {', '.join(map(printable, result['runs']))}")
