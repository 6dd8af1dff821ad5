"""What came out of a recipe: ``table.json``, ``table.md`` and a picture, from the pool's records.

A number that there is not is a dash, and its reason stands below the table.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxylm.analysis.charts import Curve, line_chart
from proxylm.files import atomic_file, write_json
from proxylm.recipes.artifacts import REASON
from proxylm.recipes.plan import Plan, value_at
from proxylm.recipes.recipe import WHOLE_RUN, Column, Plot

TABLE_FILE = "table.json"
MARKDOWN_FILE = "table.md"
PICTURE_FILE = "picture.svg"

DASH = "–"


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        values: one for each seed that has it.
        reason: why there is none; empty where there is, or where the row has no such.
    """

    values: tuple[Any, ...] = ()
    reason: str = ""

    @property
    def value(self) -> Any:
        """The mean over seeds; what is no number, of the first."""
        if not self.values:
            return None
        is_number = all(isinstance(one, int | float) for one in self.values)
        return statistics.fmean(self.values) if is_number else self.values[0]

    def text(self, form: str) -> str:
        """For reading; of several seeds with their standard deviation."""
        if self.value is None:
            return DASH
        if len(self.values) == 1:
            return format(self.values[0], form)
        return f"{self.value:{form}} ± {statistics.stdev(self.values):{form}}"

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        told = {REASON: self.reason} if self.reason else {}
        return {"value": self.value, "values": list(self.values), **told}


@dataclass(frozen=True)
class Results:
    """The numbers of a plan, read from the pool."""

    plan: Plan
    pool: Path

    def cell(self, row: str, place: str, share: float = WHOLE_RUN) -> Cell:
        """The number at a place (``recipe.Column``) of a row."""
        name, _, inside = place.partition(".")
        values, reasons = [], []
        for measurement in self.plan.measurements(row, name, share):
            value, reason = value_at(measurement, self.pool, measurement.names(inside))
            if reason:
                reasons.append(reason)
            else:
                values.append(value)
        return Cell(tuple(values), "" if values else "; ".join(dict.fromkeys(reasons)))

    def column(self, column: Column) -> dict[str, Cell]:
        """Its cells by row."""
        rows = self.plan.recipe.rows
        return {row: self.cell(row, column.value, column.at) for row in rows}


def write_results(plan: Plan, pool: Path, out: Path) -> dict[str, Any]:
    """Write the table, as JSON and as Markdown, and the picture; returns the table.

    What is not made yet is a dash.

    Raises:
        UsageError: matplotlib, which draws the picture, is not there.
    """
    out.mkdir(parents=True, exist_ok=True)
    results = Results(plan, pool)
    table = table_of(results)
    write_json(out / TABLE_FILE, table)
    _write_text(out / MARKDOWN_FILE, markdown_page(results, table))
    picture = picture_of(results)
    if picture:
        _write_text(out / PICTURE_FILE, picture)
    return table


def table_of(results: Results) -> dict[str, Any]:
    """Plain values: what stands in the table, and beside it."""
    recipe = results.plan.recipe
    columns = {name: results.column(column) for name, column in recipe.columns.items()}
    return {
        "title": recipe.title,
        "section": recipe.section,
        "statement": recipe.statement,
        "notes": [*filter(None, (recipe.note, recipe.caution)), *results.plan.scale.notes],
        "rows": [
            {
                "row": row,
                "cells": {name: cells[row].as_json() for name, cells in columns.items()},
                "paper": recipe.paper.get(row, {}),
                "made_of": [one.key for one in results.plan.subjects(row)],
            }
            for row in recipe.rows
        ],
    }


def text_rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """Headings and cells for reading; columns of dashes alone are left out."""
    recipe = results.plan.recipe
    columns = {
        name: [cell.text(column.form) for cell in results.column(column).values()]
        for name, column in recipe.columns.items()
    }
    for name in recipe.paper_columns:
        values = [recipe.paper.get(row, {}).get(name) for row in recipe.rows]
        columns[f"paper: {name}"] = [DASH if one is None else f"{one:g}" for one in values]
    shown = {name: cells for name, cells in columns.items() if set(cells) != {DASH}}
    rows = [[row, *cells] for row, *cells in zip(recipe.rows, *shown.values(), strict=True)]
    return ["row", *shown], rows


def markdown_page(results: Results, table: dict[str, Any]) -> str:
    """The table with what is to be said about it."""
    said = [f"Paper {table['section']}." if table["section"] else "", table["statement"]]
    parts = [f"# {table['title']}", " ".join(filter(None, said))]
    headers, rows = text_rows(results)
    if rows:
        parts.append(markdown(headers, rows))
    parts += table["notes"]
    parts += [f"{DASH} {line}" for line in reasons_of(results)]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def reasons_of(results: Results) -> list[str]:
    """Why numbers are not there: a line for each reason, with the cells that it is about."""
    found: dict[str, list[str]] = {}
    for name, column in results.plan.recipe.columns.items():
        cells = results.column(column)
        lacking = {row: cell.reason for row, cell in cells.items() if cell.reason}
        is_whole = not any(cell.values for cell in cells.values())
        for reason in dict.fromkeys(lacking.values()):
            rows = [row for row, why in lacking.items() if why == reason]
            places = [name] if is_whole else [f"{name} of {row}" for row in rows]
            found.setdefault(reason, []).extend(places)
    return [f"{_some(places)}: {reason}" for reason, places in found.items()]


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown.

    >>> print(markdown(["row", "ρ"], [["lines", "2.3"]]), end="")
    | row | ρ |
    |---|---|
    | lines | 2.3 |
    """
    lines = [headers, ["---"] * len(headers), *rows]
    texts = ["| " + " | ".join(cells) + " |" for cells in lines]
    texts[1] = texts[1].replace(" ", "")
    return "\n".join(texts) + "\n"


def picture_of(results: Results) -> str | None:
    """The recipe's picture as SVG; None where it has none, or nothing to draw it from.

    Raises:
        UsageError: matplotlib is not there.
    """
    plot = results.plan.recipe.plot
    curves = [] if plot is None else list(_curves(results, plot))
    if plot is None or not curves:
        return None
    title = results.plan.recipe.title
    return line_chart(curves, title=title, x_label=plot.x_label, y_label=plot.y_label)


def _curves(results: Results, plot: Plot) -> Iterator[Curve]:
    rows = results.plan.recipe.rows
    shares = results.plan.recipe.shares if plot.over == "checkpoints" else [WHOLE_RUN]
    lines: dict[str, tuple[str, ...]] = {row: (row,) for row in rows}
    if plot.over == "rows":
        lines = plot.series or {"": tuple(rows)}
    number = 0
    for label, members in lines.items():
        for name, place in plot.y.items():
            if plot.over == "distribution":
                points = _distribution(results.cell(label, place).value)
            else:
                places = [(row, share) for row in members for share in shares]
                points = _points(results, (plot.x, place), places)
            if points:
                x, y = zip(*points, strict=True)
                title = ", ".join(filter(None, (label, name)))
                yield Curve(label=title, x=x, y=y, colour=number)
            number += 1


def _points(
    results: Results, numbers: tuple[str, str], places: Sequence[tuple[str, float]]
) -> list[tuple[float, float]]:
    """Those of which both numbers are there, in order of the first."""
    pairs = [
        tuple(results.cell(row, number, share).value for number in numbers) for row, share in places
    ]
    return sorted((x, y) for x, y in pairs if x is not None and y is not None)


def _distribution(values: Any) -> list[tuple[float, float]]:
    if isinstance(values, dict):
        return sorted((float(key), float(value)) for key, value in values.items())
    found = values or []
    return [((index + 0.5) / len(found), float(value)) for index, value in enumerate(found)]


def _some(names: Sequence[str], most: int = 4) -> str:
    more = len(names) - most
    return "; ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _write_text(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
