"""A recipe of the paper's as an experiment: its table's numbers, by row and seed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from proxylm.config import Config
from proxylm.recipes.artifacts import Artifact, Run
from proxylm.recipes.measures import EvaluationData
from proxylm.recipes.plan import plan_of
from proxylm.recipes.recipe import read_recipe
from proxylm.recipes.scale import read_scale
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
                measure, _, place = column.value.partition(".")
                for seed, one in enumerate(plan.measurements(row, measure, column.at)):
                    by_seed.setdefault(seed, {})[heading] = Number(one, one.names(place))
            for seed, numbers in by_seed.items():
                labels: dict[str, Label] = {"row": row, "seed": seed}
                points.append(Point(labels=labels, numbers=numbers))
        return Points(points=tuple(points))

    def seconds(self, artifact: Artifact) -> float:
        """About how long a run and its measurements take on one core; 0 for all else."""
        return 60.0 * self.minutes if isinstance(artifact, Run) else 0.0
