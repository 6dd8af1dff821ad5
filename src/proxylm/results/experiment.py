"""An experiment as data, read from ``files/NAME.yaml``: what is made, and how it is told.

What it tells are statements, the paper's and goals of ours; a rule gives each its verdict.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from proxylm.config import Config, load_config
from proxylm.errors import UsageError
from proxylm.results.commands import CommandsWork
from proxylm.results.grid import GridWork
from proxylm.results.points import Label
from proxylm.results.recipe_table import RecipeWork

FILES = Path(__file__).parent / "files"

Work = Annotated[GridWork | RecipeWork | CommandsWork, Field(discriminator="kind")]


class Difference(Config):
    """A number of some observations less that of others, in pairs.

    A pair has the same labels, but those that are named here.

    Attributes:
        number: which.
        of: labels of the ones.
        minus: labels of the others; their ``number`` is ``minus_number`` where that is given.
        minus_number: see there.
        where: labels that both have.
        times: what the others' number is multiplied by.
    """

    number: str
    of: dict[str, Label]
    minus: dict[str, Label]
    minus_number: str | None = None
    where: dict[str, Label] = Field(default_factory=dict)
    times: PositiveFloat = 1.0


class IsLower(Difference):
    """Lower is right: the mean difference is below zero."""

    kind: Literal["lower"] = "lower"
    per: str | None = None


class IsHigher(Difference):
    """Higher is right: the mean difference is above zero."""

    kind: Literal["higher"] = "higher"
    per: str | None = None


class Falls(Difference):
    """The difference falls as another number grows.

    Attributes:
        over: the other number, or a label that is one, in powers of ten; of the observations that
            are no counterparts.
        paper_crossing: where the paper's difference is zero.
    """

    kind: Literal["falls"] = "falls"
    over: str
    paper_crossing: PositiveFloat | None = None


Rule = Annotated[IsLower | IsHigher | Falls, Field(discriminator="kind")]


class Statement(Config):
    """What is to be told.

    Attributes:
        says: the statement: the paper's, or a goal of ours.
        source: where it stands.
        rule: what decides.
    """

    says: str
    source: str
    rule: Rule


class Table(Config):
    """Numbers side by side: means over all labels that are not named, with deviations.

    Attributes:
        title: above it.
        rows: labels that make rows.
        columns: a label whose values make columns of the one number; None: numbers do.
        numbers: shown, by name, with their form as in ``format()``.
        where: labels of what is shown.
    """

    title: str
    rows: tuple[str, ...]
    columns: str | None = None
    numbers: dict[str, str]
    where: dict[str, Label] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_shown(self) -> Self:
        if self.columns is not None and len(self.numbers) != 1:
            raise ValueError("numbers: columns of a label's values are of one number")
        for form in self.numbers.values():
            format(0.0, form)
        return self


class Experiment(Config):
    """An experiment.

    Attributes:
        title: its heading.
        text: what is done, and why; no numbers that come out of it.
        core_hours: at most, in all.
        inputs: what the user brings, by name.
        work: what is made.
        statements: what is decided.
        tables: what is shown.
    """

    title: str
    text: str
    core_hours: PositiveFloat
    inputs: dict[str, str] = Field(default_factory=dict)
    work: Work
    statements: tuple[Statement, ...] = ()
    tables: tuple[Table, ...] = ()


def experiment_names() -> list[str]:
    """The shipped ones, in the order of the page."""
    return [name.partition("-")[2] for name in sorted(path.stem for path in FILES.glob("*.yaml"))]


def read_experiment(name: str, overrides: tuple[str, ...] = ()) -> Experiment:
    """An experiment by its name, or one of the user's by its file.

    Raises:
        UsageError: there is none, or a value is wrong.
    """
    shipped = [path for path in FILES.glob("*.yaml") if path.stem.partition("-")[2] == name]
    if not shipped and not Path(name).is_file():
        names = ", ".join(experiment_names())
        raise UsageError(f"no experiment '{name}'; there are: {names}, or give a file")
    return load_config(Experiment, shipped[0] if shipped else Path(name), overrides)
