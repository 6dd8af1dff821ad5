"""A recipe of the paper's as an experiment: its table's numbers, by row and seed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from proxylm.config import Config
from proxylm.recipes.artifacts import Run
from proxylm.recipes.measures import EvaluationData
from proxylm.recipes.plan import Measurement, plan_of
from proxylm.recipes.recipe import Column, read_recipe
from proxylm.recipes.scale import read_scale
from proxylm.recipes.table import OWN
from proxylm.results.points import Inputs, Label, Number, Point, Points


class RecipeWork(Config):
    """Which table.

    Attributes:
        recipe: its name (``proxylm recipe list``).
        scale: its size.
        seeds: runs of each configuration.
        minutes: about what a run and its measurements take on one core.
    """

    kind: Literal["recipe"] = "recipe"
    recipe: str
    scale: str = "tiny"
    seeds: PositiveInt = 1
    minutes: PositiveInt = 15

    def points(self, inputs: Inputs, data: EvaluationData, pool: Path) -> Points:
        """What there is to make.

        Raises:
            UsageError: there is no such recipe or scale.
        """
        recipe = read_recipe(self.recipe)
        plan = plan_of(recipe, read_scale(self.scale), seeds=self.seeds, data=data)
        points = []
        for row in recipe.rows:
            by_seed: dict[int, dict[str, Number]] = {}
            for heading, column in recipe.columns.items():
                measure = column.value.partition(".")[0]
                for seed, one in enumerate(plan.measurements(row, measure, column.at)):
                    by_seed.setdefault(seed, {})[heading] = _number(one, column)
            for seed, numbers in by_seed.items():
                labels: dict[str, Label] = {"row": row, "seed": seed}
                points.append(Point(labels=labels, numbers=numbers))
        return Points(points=tuple(points))

    def seconds(self, run: Run) -> float:
        """About how long a run and its measurements take on one core."""
        return 60.0 * self.minutes


def _number(measurement: Measurement, column: Column) -> Number:
    names = column.value.split(".")[1:]
    if isinstance(measurement.of, Run):
        names = [measurement.of.own_reading if one == OWN else one for one in names]
    return Number(measurement, tuple(names))
