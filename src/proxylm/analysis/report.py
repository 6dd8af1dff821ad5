"""An HTML report of runs: their curves side by side, in one file that needs nothing else.

Curves come from the runs' own ``metrics.jsonl``; the page carries its charts as SVG text.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxylm.analysis.charts import Curve, line_chart, smoothed
from proxylm.errors import DataError
from proxylm.files import atomic_file
from proxylm.printable import printable
from proxylm.training.metrics import METRICS_FILE, read_metrics

SMOOTHED_SHARE = 0.02
"""The loss curves show the mean over this share of a run's steps."""

AXES = {"symbols": "symbols", "training_flops": "training FLOPs", "raw_bytes": "raw bytes"}
"""What held-out documents' curves are drawn over: fields of a record, with their labels."""

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b1b1b; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
.charts { display: grid; gap: 1rem;
          grid-template-columns: repeat(auto-fit, minmax(min(28rem, 100%), 1fr)); }
.charts figure { margin: 0; }
.charts svg { width: 100%; height: auto; }
pre { background: #f5f5f5; padding: 1rem; overflow-x: auto; white-space: pre-wrap; }
"""


@dataclass(frozen=True, kw_only=True)
class RunHistory:
    """The metrics of one run under the name that the report gives it."""

    name: str
    records: Sequence[dict[str, Any]]

    @classmethod
    def read(cls, run: Path) -> RunHistory:
        """Read a run folder.

        Raises:
            DataError: the folder holds no metrics.
        """
        path = run / METRICS_FILE
        if not path.is_file():
            raise DataError(f"{run}: no {METRICS_FILE} there; give the folder of a training run")
        return cls(name=run.name, records=read_metrics(path))

    def evaluations(self, view: str) -> list[dict[str, Any]]:
        """The records of the steps at which the view was evaluated."""
        return [record for record in self.records if view in record.get("held_out", {})]


def write_report(
    runs: Sequence[RunHistory], out: Path, *, title: str, sections: Mapping[str, str] | None = None
) -> None:
    """Write sections (HTML by title), then the curves of ``runs``, to the HTML file ``out``."""
    charts = "\n".join(f"<figure>{chart}</figure>" for chart in _charts(runs))
    parts = [
        *(f"<h2>{escaped(name)}</h2>\n{body}" for name, body in (sections or {}).items()),
        f'<h2>Curves</h2>\n<div class="charts">\n{charts}\n</div>',
    ]
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{escaped(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{escaped(title)}</h1>\n{chr(10).join(parts)}\n</body></html>\n"
    )
    with atomic_file(out) as temporary:
        temporary.write_text(page, encoding="utf-8")


def escaped(text: str, keep: str = "") -> str:
    """``text`` as HTML text; what no page may hold becomes an escape (but for ``keep``)."""
    return html.escape(printable(text, keep))


def html_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; every cell is escaped."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escaped(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(headers, 'th')}</thead><tbody>{body}</tbody></table>"


def _charts(runs: Sequence[RunHistory]) -> list[str]:
    views = dict.fromkeys(
        view for run in runs for record in run.records for view in record.get("held_out", {})
    )
    evaluations = [_evaluation_chart(runs, view, over) for over in AXES for view in views]
    return [_loss_chart(runs), *evaluations]


def _loss_chart(runs: Sequence[RunHistory]) -> str:
    curves = [
        Curve(
            label=run.name,
            x=[record["symbols"] for record in run.records],
            y=smoothed(
                [record["loss"] for record in run.records],
                max(1, round(SMOOTHED_SHARE * len(run.records))),
            ).tolist(),
            colour=number,
        )
        for number, run in enumerate(runs)
        if run.records
    ]
    return line_chart(
        curves, title="Training loss", x_label="symbols", y_label="nats per symbol (smoothed)"
    )


def _evaluation_chart(runs: Sequence[RunHistory], view: str, over: str) -> str:
    curves = []
    for number, run in enumerate(runs):
        if found := run.evaluations(view):
            x, bits = zip(*((one[over], one["held_out"][view]) for one in found), strict=True)
            curves.append(Curve(label=run.name, x=x, y=bits, colour=number))
    return line_chart(
        curves,
        title=f"Held-out bits per byte, read as {view}",
        x_label=AXES[over],
        y_label="bits per raw byte",
    )
