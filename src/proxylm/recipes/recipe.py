"""A recipe: one table or figure of the paper as data, read from ``files/NAME.yaml``.

It says which runs and compressors its rows are, what is measured of them, which of these numbers
stand in the table, and what the paper's own were.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxylm.config import Config, load_config
from proxylm.errors import UsageError
from proxylm.recipes.measures import MeasureChoice

FILES = Path(__file__).parent / "files"
WHOLE_RUN = 1.0

Share = Annotated[float, Field(gt=0, le=1)]


class Column(Config):
    """One column of our own numbers.

    Attributes:
        value: where the number is: a measure's name and a place in its result, with dots between;
            ``own`` stands for how the model is meant to be read: as bytes where it was shown any,
            else as tokens.
        form: of the number, as in ``format()``.
        at: share of a run's steps after which it is measured.
    """

    value: str
    form: str = ".3f"
    at: Share = WHOLE_RUN


class Plot(Config):
    """A picture of what was measured.

    Attributes:
        y: where numbers are, as in ``Column.value``, by what curves are called beside their rows;
            of ``distribution``, counts or shares in equal bins from 0 to 1, or by key.
        x: where the other number is; of ``distribution``, nowhere.
        over: points are a run's ``checkpoints``, a curve for each row; or ``rows``, a curve for
            each of ``series``; or a row's own ``distribution``.
        series: rows of each curve, by its label; empty: each row, or all rows together.
        x_label, y_label: of the axes.
    """

    y: dict[str, str]
    x: str = ""
    over: Literal["checkpoints", "rows", "distribution"] = "checkpoints"
    series: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    x_label: str
    y_label: str


class Recipe(Config):
    """A table or figure.

    Attributes:
        title: which, and what of.
        also: other tables and figures that it gives.
        section: of the paper, where that is known.
        statement: what the paper says, in a line; empty where that is not known.
        note: what differs here, or is not known.
        caution: what the numbers do not say.
        runs: shipped configurations by row.
        compressors: views by row.
        store: of the compressors.
        checkpoints: shares of a run after which all is measured, beside its end.
        measures: what is measured, by name.
        columns: of the table, by heading.
        paper: the paper's own numbers, by row and heading.
        plot: the picture.
    """

    title: str
    also: tuple[str, ...] = ()
    section: str = ""
    statement: str = ""
    note: str = ""
    caution: str = ""
    runs: dict[str, str] = Field(default_factory=dict)
    compressors: dict[str, str] = Field(default_factory=dict)
    store: str = "stores/python"
    checkpoints: tuple[Share, ...] = ()
    measures: dict[str, MeasureChoice] = Field(default_factory=dict)
    columns: dict[str, Column] = Field(default_factory=dict)
    paper: dict[str, dict[str, float]] = Field(default_factory=dict)
    plot: Plot | None = None

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        places = [column.value for column in self.columns.values()]
        if self.plot:
            places += [place for place in (self.plot.x, *self.plot.y.values()) if place]
        for place in places:
            if place.partition(".")[0] not in self.measures:
                raise ValueError(f"columns: {place} begins with no measure of the recipe")
        in_series = [row for rows in self.plot.series.values() for row in rows] if self.plot else []
        for row in [*self.paper, *in_series]:
            if row not in self.rows:
                raise ValueError(f"there is no row '{row}'")
        return self

    @property
    def rows(self) -> list[str]:
        """Their names, those of runs first, in the order of the file."""
        return list(dict.fromkeys([*self.runs, *self.compressors]))

    @property
    def shares(self) -> list[float]:
        """Of a run, after which something is measured, in order."""
        of_columns = [column.at for column in self.columns.values()]
        return sorted({WHOLE_RUN, *self.checkpoints, *of_columns})

    @property
    def paper_columns(self) -> list[str]:
        """Headings of the paper's numbers, in the order of the file."""
        return list(dict.fromkeys(name for values in self.paper.values() for name in values))


def recipe_names() -> list[str]:
    """All of them: tables, figures, and the rest, by number."""
    return sorted((path.stem for path in FILES.glob("*.yaml")), key=_in_order)


def read_recipe(name: str) -> Recipe:
    """A recipe by its name, or by another table or figure that it gives.

    Raises:
        UsageError: there is none of that name.
    """
    for other in [name] if name in recipe_names() else recipe_names():
        recipe = _read(other)
        if name in (other, *recipe.also):
            return recipe
    raise UsageError(f"no recipe '{name}'; there are: {', '.join(recipe_names())}")


@cache
def _read(name: str) -> Recipe:
    return load_config(Recipe, FILES / f"{name}.yaml")


def _in_order(name: str) -> tuple[int, int, str]:
    word = re.match(r"(table|figure)(\d+)", name)
    if word is None:
        return 2, 0, name
    return int(word[1] == "figure"), int(word[2]), name
