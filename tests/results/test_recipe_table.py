"""A recipe as an experiment: a point for each row and seed, its columns as numbers."""

from __future__ import annotations

from pathlib import Path

from proxylm.recipes.artifacts import Run
from proxylm.recipes.measures import EvaluationData
from proxylm.recipes.plan import Measurement
from proxylm.recipes.recipe import read_recipe
from proxylm.results.points import Inputs
from proxylm.results.recipe_table import RecipeWork


def test_rows_and_seeds_are_points_and_columns_their_numbers(tmp_path: Path) -> None:
    recipe, work = read_recipe("figure5"), RecipeWork(recipe="figure5", seeds=2, minutes=3)
    points = work.points(Inputs(described={}, given={}), EvaluationData(), tmp_path).points
    assert [tuple(one.labels.values()) for one in points] == [
        (row, seed) for row in recipe.rows for seed in range(2)
    ]
    for point in points:
        assert set(point.numbers) == set(recipe.columns)
        for number in point.numbers.values():
            measurement = number.artifact
            assert isinstance(measurement, Measurement) and isinstance(measurement.of, Run)
            assert measurement.of.config.seed == point.labels["seed"]
            assert work.seconds(measurement.of) == 180
            assert work.seconds(measurement) == 0
    assert points[0].numbers["right over mutated"].place == ("bytes", "accuracy")
