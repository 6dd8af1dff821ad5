"""The page of a report: sections, numbers of charts and the code that draws them, in one file.

Nothing is fetched when it is opened: uPlot (``proxylm/vendored/uplot``) and everything else stands
in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from proxylm.files import atomic_file
from proxylm.printable import printable
from proxylm.report.curves import AXES, charts_of, grids_of
from proxylm.report.histograms import Histogram
from proxylm.report.history import NOT_SET, RunHistory, differences
from proxylm.report.html import escaped, html_table, paragraph

PAGE = Path(__file__).parent / "page"
UPLOT = Path(__file__).parents[1] / "vendored" / "uplot"


def write_report(
    runs: Sequence[RunHistory],
    out: Path,
    *,
    title: str,
    sections: Mapping[str, str] | None = None,
    further: Mapping[str, str] | None = None,
    histograms: Sequence[Histogram] = (),
) -> None:
    """Write the report of ``runs`` to the HTML file ``out``.

    Args:
        runs: their curves share the charts, a colour each.
        out: the file; it is replaced whole or not at all.
        title: of the page.
        sections: HTML by title, before the runs' table.
        further: HTML by title, after everything else.
        histograms: of analyses, after the curves.

    Raises:
        CannotWriteError: the disk is full, or the file cannot be written.
    """
    shown = dict(sections or {}) | {"Runs": html_table(*_table(runs), about="runs")}
    shown["Curves"] = _read(PAGE / "curves.html")
    if histograms:
        shown["Distributions"] = '<div class="charts" id="histograms"></div>'
    if differ := differences(runs):
        shown["What the runs' configurations differ in"] = _differences(runs, differ)
    parts = [_section(name, body) for name, body in (shown | dict(further or {})).items()]
    values = {
        "runs": [printable(run.name) for run in runs],
        "axes": AXES,
        "grids": [grids_of(run) for run in runs],
        "charts": [asdict(chart) for chart in charts_of(runs)],
        "histograms": [asdict(one) for one in histograms],
    }
    with atomic_file(out) as temporary:
        temporary.write_text(_page(title, parts, values), encoding="utf-8")


def _page(title: str, parts: Sequence[str], values: object) -> str:
    # JSON in a page must not end the element that it stands in.
    data = json.dumps(values, allow_nan=False).replace("<", "\\u003c")
    style = _read(UPLOT / "uPlot.min.css") + _read(PAGE / "report.css")
    code = _read(UPLOT / "uPlot.iife.min.js") + _read(PAGE / "report.js")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title>\n<style>{style}</style></head>\n"
        f'<body><a class="skip" href="#Curves">To the curves</a><header><h1>{escaped(title)}</h1>'
        "</header>\n<main>\n" + "\n".join(parts) + "\n</main>\n"
        f'<script type="application/json" id="data">{data}</script>\n'
        f"<script>{code}</script></body></html>\n"
    )


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _section(name: str, body: str) -> str:
    return f'<section id="{escaped(name)}"><h2>{escaped(name)}</h2>\n{body}</section>'


def _table(runs: Sequence[RunHistory]) -> tuple[list[str], list[list[str]]]:
    views = list(dict.fromkeys(view for run in runs for view in run.views))
    headers = ["run", "steps", "symbols", "raw bytes", "FLOPs", "hours", "loss"]
    headers += [f"bits/byte as {view}" for view in views]
    return headers, [_row(run, views) for run in runs]


def _row(run: RunHistory, views: Sequence[str]) -> list[str]:
    last = run.records[-1] if run.records else {}

    def shown(name: str, form: str) -> str:
        value = last.get(name)
        return NOT_SET if value is None else format(value, form)

    held_out = [run.evaluations(view) for view in views]
    seconds = last.get("seconds")
    return [
        run.name,
        shown("step", ","),
        shown("symbols", ","),
        shown("raw_bytes", ","),
        shown("training_flops", ".3g"),
        NOT_SET if seconds is None else f"{seconds / 3600:.2f}",
        shown("loss", ".3f"),
        *(
            f"{found[-1]['held_out'][view]:.3f}" if found else NOT_SET
            for view, found in zip(views, held_out, strict=True)
        ),
    ]


def _differences(runs: Sequence[RunHistory], differ: Mapping[str, Sequence[str]]) -> str:
    if not all(run.config for run in runs):
        unknown = ", ".join(run.name for run in runs if not run.config)
        return paragraph(f"Not known: there is no configuration of {unknown}.")
    rows = [[key, *values] for key, values in differ.items()]
    return html_table(["setting", *(run.name for run in runs)], rows, about="differences")
