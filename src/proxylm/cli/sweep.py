"""``proxylm sweep``: a small grid of runs, and one table of their held-out bits per byte."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxylm.cli.output import JsonOption, emit, note, plain_value, table

if TYPE_CHECKING:
    from proxylm.pipelines.sweep import Axis, Row


def sweep(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG... [KEY=VALUE]...",
            help="YAML files or names of 'configs list', and settings to replace in all.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="A folder; runs that were stopped go on.")],
    grid: Annotated[
        list[str],
        typer.Option(help="A key and its values, key.sub=value,value; of several, all pairs."),
    ],
    json: JsonOption = False,
) -> None:
    """Train every point of a grid and compare; the same command goes on where it was stopped.

    Example: proxylm sweep tiny --grid learning_rate.peak=1e-3,2e-3,4e-3 --out sweeps/tiny
    """
    from proxylm.pipelines.sweep import Axis, best_rows, points_of
    from proxylm.pipelines.sweep import sweep as run_sweep
    from proxylm.training.progress import shown_on_stderr

    configurations = [Path(name) for name in names if "=" not in name]
    overrides = [name for name in names if "=" in name]
    axes = [Axis.parse(text) for text in grid]
    points = points_of(configurations, axes, overrides)
    rows = run_sweep(points, out, note, lambda: [shown_on_stderr()])
    best = [
        {"configuration": configuration, "read_as": read_as, "point": row["point"]}
        for (configuration, read_as), row in best_rows(rows).items()
    ]
    emit({"rows": rows, "best": best}, as_json=json, text=_text(rows, axes))


def _text(rows: list[Row], axes: list[Axis]) -> str:
    from proxylm.pipelines.sweep import best_rows

    readings = list(dict.fromkeys(name for row in rows for name in row.get("held_out", {})))
    best = best_rows(rows)

    def cell(row: Row, read_as: str) -> str:
        bits = row.get("held_out", {}).get(read_as)
        if bits is None:
            return "diverged" if "diverged" in row else "-"
        return f"{bits:.4f}{' *' if best[row['configuration'], read_as] is row else '  '}"

    headers = ["configuration", *(axis.key for axis in axes), "loss"]
    headers += [f"bits per byte, {read_as}" for read_as in readings]
    lines = []
    for row in rows:
        values = [row["point"][axis.key] for axis in axes]
        lines.append([row["configuration"], *map(plain_value, [*values, row.get("loss", "-")])])
        lines[-1] += [cell(row, read_as) for read_as in readings]
    return table(headers, lines) + "\n* the fewest bits of its configuration"
