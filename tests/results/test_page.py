"""The committed page is what its records give, and experiments name what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from documents import ROOT
from proxylm.config import validate_config
from proxylm.errors import UsageError
from proxylm.recipes.measures import EvaluationData
from proxylm.recipes.recipe import read_recipe
from proxylm.results.commands import CommandsWork
from proxylm.results.experiment import Experiment, Table, experiment_names, read_experiment
from proxylm.results.grid import GridWork
from proxylm.results.page import page_of, read_records
from proxylm.results.points import Inputs
from proxylm.results.recipe_table import RecipeWork
from proxylm.results.record import Observation, ResultRecord

CONSTANTS = {"peak", "operations", "body parameters"}
NAMES = experiment_names()


def numbers_of(experiment: Experiment) -> set[str]:
    """Names of all numbers that observations can have."""
    match experiment.work:
        case GridWork(numbers=numbers):
            return {*numbers, *CONSTANTS}
        case RecipeWork(recipe=recipe):
            return set(read_recipe(recipe).columns)
        case CommandsWork(points_of=points):
            return {name for point in points for name in point.numbers}


def labels_of(experiment: Experiment) -> dict[str, set[Any]]:
    """Values of labels; none of what they cannot be checked for."""
    match experiment.work:
        case GridWork() as work:
            arms = {name for name, arm in work.arms.items() if not arm.is_step}
            return {"arm": arms, "size": set(work.sizes), "corpus": set(work.corpora)}
        case RecipeWork(recipe=recipe):
            return {"row": set(read_recipe(recipe).rows)}
        case CommandsWork(points_of=points, lists=lists):
            found: dict[str, set[Any]] = {}
            for point in points:
                for name, one in point.each.items():
                    values = lists[one] if isinstance(one, str) else one
                    found.setdefault(name, set()).update(values)
                for name, value in point.labels.items():
                    found.setdefault(name, set()).add(value)
            return found


def test_the_committed_page_is_what_the_command_writes() -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert page == page_of(read_records(ROOT / "docs" / "results"))


@pytest.mark.parametrize("name", NAMES)
def test_statements_and_tables_name_numbers_and_labels_that_there_are(name: str) -> None:
    experiment = read_experiment(name)
    numbers, labels = numbers_of(experiment), labels_of(experiment)
    assert experiment.statements and experiment.tables
    for table in experiment.tables:
        assert set(table.numbers) <= numbers
        named = {*table.rows, *table.where, *([table.columns] if table.columns else [])}
        assert named <= set(labels)
    rules = [one.rule for one in experiment.statements]
    for rule in rules:
        over, per = getattr(rule, "over", None), getattr(rule, "per", None)
        assert {rule.number, rule.minus_number or rule.number} <= numbers
        assert over is None or over in numbers | set(labels)
        assert per is None or per in labels
    for where in [part for rule in rules for part in (rule.of, rule.minus, rule.where)] + [
        table.where for table in experiment.tables
    ]:
        for label, value in where.items():
            assert value in labels[label], (label, value)


@pytest.mark.parametrize("name", NAMES)
def test_no_result_is_written_into_prose(name: str) -> None:
    experiment = read_experiment(name)
    prose = re.sub(r"`[^`]*`|rate 0\.4 to 0\.9|Q4_1", "", experiment.text)
    assert re.findall(r"\d+\.\d+|\d+ ?%", prose) == []


def test_a_page_tells_pairs_lines_and_what_was_not_run() -> None:
    observations = [
        Observation(
            {"size": size, "arm": arm, "corpus": "library", "seed": seed},
            {
                "bits per byte": 2 + 0.01 * seed + (0 if arm == "bytes" else gap + 0.001 * seed),
                "body parameters": parameters,
            },
        )
        for size, parameters, gap in (("100k", 1e5, 0.3), ("300k", 3e5, 0.2), ("750k", 1e6, 0.1))
        for arm in ("bytes", "paper")
        for seed in range(3)
    ]
    record = ResultRecord(
        experiment="ladder",
        configuration={},
        made_by=("1.0 (abc)",),
        core_hours=1.5,
        wanted=None,
        observations=tuple(observations),
        sweep=(Observation({"arm": "bytes", "peak": 0.003}, {"bits per byte": 2.5}),),
        chosen={"bytes": 0.003},
    )
    page = page_of([record])
    assert "1.50 of at most 18 core-hours; 18 observations so far (more to come); 3 seeds" in page
    assert "| paper | 2.311 ± 0.011 | 2.211 ± 0.011 | 2.111 ± 0.011 |" in page
    assert "-0.200 ± 0.004 for ten times the body parameters, over 9 points" in page
    assert re.search(
        r"the line meets zero at 3\.1\dM \(\S+ to \S+\); the paper's crossing: 1\.5B", page
    )
    assert "(C.3): **agrees**. 100k: +0.301 ± 0.001 over 3 pairs; 300k: +0.201" in page
    assert "| A model of tokens that is shown raw bytes late stays below" in page
    assert page.count("not run here") > 5
    assert "Peaks of the learning rate" in page
    assert "## A proxy model that beats" not in page


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"columns": "size", "numbers": {"a": ".3f", "b": ".3f"}}, "are of one number"),
        ({"numbers": {"a": ".3q"}}, "for object of type .float"),
    ],
)
def test_tables_that_cannot_be_shown_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        validate_config(Table, {"title": "A", "rows": ["arm"]} | values)


def test_the_page_on_experiments_has_one_that_can_be_planned(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```yaml\n(extends: .*?)```", text, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(example)
    work = read_experiment(str(tmp_path / "mine.yaml")).work
    assert isinstance(work, GridWork)
    points = work.with_peaks_assumed().points(
        Inputs(described={}, given={}), EvaluationData(), tmp_path
    )
    assert len(points.points) == 6
