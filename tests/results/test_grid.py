"""Grids: equal operations, peaks chosen alike, what waits for them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxylm.config import plain_config, validate_config
from proxylm.errors import UsageError
from proxylm.files import write_json
from proxylm.recipes.artifacts import Run
from proxylm.recipes.measures import EvaluationData
from proxylm.recipes.plan import Measurement
from proxylm.results.experiment import read_experiment
from proxylm.results.grid import GridWork
from proxylm.results.points import Inputs, Point, Points, inputs_from

NOTHING = Inputs(described={}, given={})
SIZE: dict[str, Any] = {"model": {}, "vocabulary": 512, "symbols": 1, "seeds": 1}


def grid(name: str = "ladder", **values: Any) -> GridWork:
    work = read_experiment(name).work
    assert isinstance(work, GridWork)
    return validate_config(GridWork, plain_config(work) | values)


def points_of(work: GridWork, pool: Path, inputs: Inputs = NOTHING) -> Points:
    return work.points(inputs, EvaluationData(), pool)


def run_of(point: Point) -> Run:
    artifacts = [one.artifact for one in point.numbers.values()]
    runs = {one.of.key: one.of for one in artifacts if isinstance(one, Measurement)}
    [run] = runs.values()
    assert isinstance(run, Run)
    return run


def settle(points: Points, pool: Path, bits: dict[float, float | None]) -> None:
    """Pretend that these peaks were tried: held-out bits by peak; None where the run diverged."""
    for point in points.sweep:
        [number] = point.numbers.values()
        if (peak := float(point.labels["peak"])) not in bits:
            continue
        value = bits[peak]
        report = {"bits_per_byte": value}
        result = {"bytes": report, "tokens": report}
        record = {"reason": "diverged"} if value is None else {"result": result}
        path = number.artifact.record_file(pool)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record)


def test_arms_have_equal_operations_and_differ_in_steps(tmp_path: Path) -> None:
    points = points_of(grid().with_peaks_assumed(), tmp_path).points
    for size in ("100k", "1500k"):
        found = {one.labels["arm"]: one for one in points if one.labels["size"] == size}
        operations = [one.constants["operations"] for one in found.values()]
        steps = {arm: run_of(one).config.total_steps for arm, one in found.items()}
        assert max(operations) / min(operations) < 1.002
        # More rows of the output layer, fewer steps.
        assert steps["tokens"] == steps["paper"] < 0.95 * steps["bytes"]
    assert set(found) == {*grid().arms} - {"tokens, late bytes"}
    run, operations = run_of(found["bytes"]), found["bytes"].constants["operations"]
    assert grid(flops_per_second=2e10, measuring_seconds=5).seconds(run) == pytest.approx(
        operations / 2e10 + 5
    )
    assert found["bytes"].constants["body parameters"] == 5 * (4 * 160**2 + 3 * 160 * 416)


def test_runs_wait_for_the_peaks_and_take_the_best(tmp_path: Path) -> None:
    work = grid(peaks=[1e-3, 2e-3, 4e-3])
    before = points_of(work, tmp_path)
    assert before.points == () and not before.is_all
    assert len(before.sweep) == 3 * len(work.arms)
    settle(before, tmp_path, {1e-3: 2.0})
    assert points_of(work, tmp_path).chosen == {}
    settle(before, tmp_path, {2e-3: 1.9, 4e-3: None})
    after = points_of(work, tmp_path)
    assert after.is_all
    assert set(after.chosen.values()) == {2e-3}
    assert {run_of(one).config.learning_rate.peak for one in after.points} == {2e-3}
    # The sweep's runs at that peak are runs of the grid, and not made twice.
    swept = {one.key for point in before.sweep for one in point.artifacts}
    kept = {one.key for point in after.points for one in point.artifacts}
    assert len(swept & kept) == len(work.arms)


def test_a_peak_that_is_given_is_not_swept(tmp_path: Path) -> None:
    arms = {"bytes": {"peak": 5e-3}}
    work = grid(arms=arms, sizes={"100k": SIZE | {"symbols": 3_000_000}})
    for same in (work, work.with_peaks_assumed()):
        points = points_of(same, tmp_path)
        assert (points.sweep, points.chosen, points.is_all) == ((), {"bytes": 5e-3}, True)
        assert {one.constants["peak"] for one in points.points} == {5e-3}


def test_an_arm_that_starts_from_another_waits_for_its_peak_and_pays_for_both(
    tmp_path: Path,
) -> None:
    work = grid("byteify-own")
    first = points_of(work, tmp_path)
    assert "byteified" not in {point.labels["arm"] for point in first.sweep}
    settle(first, tmp_path, dict.fromkeys(work.peaks, 2.0))
    second = points_of(work, tmp_path)
    assert "byteified" in {point.labels["arm"] for point in second.sweep}
    assert not second.is_all
    settle(second, tmp_path, dict.fromkeys(work.peaks, 2.0))
    points = points_of(work, tmp_path)
    by_arm = {one.labels["arm"]: one for one in points.points if one.labels["seed"] == 2}
    assert "tokens first" not in by_arm
    run = run_of(by_arm["byteified"])
    assert run.start is not None
    assert run.start.config.seed == 2
    assert run.needs == (run.store, run.start)
    assert run.config.mixing.granularity.model_dump()["kind"] == "piece"
    operations = {arm: one.constants["operations"] for arm, one in by_arm.items()}
    assert operations["byteified"] == pytest.approx(operations["bytes"], rel=2e-3)


def test_what_an_input_is_needed_for_says_so(tmp_path: Path) -> None:
    described = {"project": "a project's source tree"}
    work = grid("moonshot").with_peaks_assumed()
    lacking = points_of(work, tmp_path, Inputs(described=described, given={})).points
    assert {one.labels["corpus"] for one in lacking if one.lacking} == {"project"}
    assert {one.labels["size"] for one in lacking if one.lacking} == {"final"}
    (tmp_path / "a.py").write_text("x = 1\n")
    given = Inputs(described=described, given={"project": tmp_path})
    assert not any(one.lacking for one in points_of(work, tmp_path, given).points)
    compressors = [
        run_of(one).store.compressor
        for one in points_of(work, tmp_path, given).points
        if one.labels["arm"] == "late, 320 tokens"
    ]
    assert [one.view.training.vocabulary_size for one in compressors] == [320]
    for word in ("project=none", "project", "other=."):
        with pytest.raises(UsageError, match=f"--input {word}: "):
            inputs_from(described, [word])
    assert inputs_from(described, ["project=."]).given == {"project": Path.cwd()}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"arms": {"a": {"start": "b"}, "b": {}}}, "no arm 'b' before it"),
        ({"swept": "none"}, "no size 'none'"),
        ({"chosen_by": "none"}, "no number 'none'"),
        ({"numbers": {"bits per byte": "nothing.own"}}, "nothing.own begins with no measure"),
        ({"sizes": {"100k": SIZE | {"arms": ["none"]}}}, "no arm or corpus 'none'"),
        ({"sizes": {"100k": SIZE | {"corpora": ["none"]}}}, "no arm or corpus 'none'"),
        ({"base": {}}, "arm bytes: learning_rate.kind: is missing"),
        ({"corpora": {"none": {"files": {"path": "{none}"}}}}, "none of the experiment's inputs"),
    ],
)
def test_names_that_there_are_not_are_refused(
    values: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        points_of(grid(**values), tmp_path)
