"""Sweeps: a grid of ordinary runs that go on where they were, and which of them is best."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from proxylm.cli.main import run as proxylm
from proxylm.config import dump_config
from proxylm.errors import UsageError
from proxylm.pipelines import sweep as sweeping
from proxylm.pipelines.sweep import Axis, Row, best_rows, points_of, sweep

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from small_runs import make_store, tiny_config

PEAKS = "learning_rate.peak=1e-4,1e-2"


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "tiny.yaml").write_text(dump_config(tiny_config(make_store(folder / "store"))))
    return folder / "tiny.yaml"


@pytest.fixture(scope="module")
def whole(config_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """An uninterrupted sweep of two peaks."""
    out = tmp_path_factory.mktemp("sweeps") / "whole"
    return out, sweep(points_of([config_file], [Axis.parse(PEAKS)]), out)


def numbers(rows: list[Row]) -> list[Any]:
    return [(row["point"], row["loss"], row["held_out"]) for row in rows]


def test_every_point_is_an_ordinary_run(whole, config_file, capsys):
    out, rows = whole
    assert [row["point"] for row in rows] == [
        {"learning_rate.peak": 1e-4},
        {"learning_rate.peak": 1e-2},
    ]
    for row in rows:
        assert (out / row["run"] / "config.yaml").is_file()
        assert row["step"] == 6
        assert set(row["held_out"]) == {"raw", "compressed"}
    assert rows[0]["held_out"] != rows[1]["held_out"]
    run = str(out / rows[1]["run"])
    assert proxylm(["train", str(config_file), "learning_rate.peak=1e-2", "--out", run]) == 0


def test_the_best_has_the_fewest_bits_of_its_configuration():
    rows = [
        {"configuration": name, "point": {"x": x}, "held_out": {"raw": bits}}
        for name, x, bits in [("a", 1, 3.0), ("a", 2, 2.0), ("b", 1, 1.0)]
    ]
    rows.append({"configuration": "b", "point": {"x": 2}, "diverged": "not a number"})
    best = {key: row["point"]["x"] for key, row in best_rows(rows).items()}
    assert best == {("a", "raw"): 2, ("b", "raw"): 1}


def test_a_sweep_that_was_stopped_goes_on_and_trains_nothing_twice(
    whole, config_file, tmp_path, monkeypatch
):
    out = tmp_path / "stopped"
    points = points_of([config_file], [Axis.parse(PEAKS)])

    def stops_in_the_second(run, record):
        if run.folder.name.endswith("0.01") and run.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(points, out, callbacks=lambda: [stops_in_the_second])
    steps: list[tuple[str, int]] = []

    def counts(run, record):
        steps.append((run.folder.name, run.step))

    rows = sweep(points, out, callbacks=lambda: [counts])
    name = points[1].folder.split("/")[1]
    assert steps == [(name, 3), (name, 4), (name, 5), (name, 6)]  # from its last checkpoint
    assert numbers(rows) == numbers(whole[1])
    monkeypatch.setattr(sweeping, "train", None)  # nothing is trained any more
    assert sweep(points, out) == rows
    assert json.loads((out / "sweep.json").read_text())["rows"] == rows


def test_a_wider_grid_keeps_what_is_there(whole, config_file, tmp_path):
    out, rows = whole
    wider = sweep(points_of([config_file], [Axis.parse("learning_rate.peak=1e-2,3e-2")]), out)
    assert wider[0] == rows[1]
    known = json.loads((out / "sweep.json").read_text())["rows"]
    assert {row["point"]["learning_rate.peak"] for row in known} == {1e-4, 1e-2, 3e-2}


def test_a_run_that_diverges_is_a_row_and_not_tried_again(config_file, tmp_path, monkeypatch):
    points = points_of([config_file], [Axis.parse("learning_rate.peak=1e30,1e-3")])
    rows = sweep(points, tmp_path / "out")
    assert "lower learning_rate.peak" in rows[0]["diverged"]
    assert "held_out" in rows[1]
    monkeypatch.setattr(sweeping, "train", None)
    assert sweep(points, tmp_path / "out") == rows


def test_a_run_of_another_configuration_is_refused(whole, config_file):
    out, _ = whole
    points = points_of([config_file], [Axis.parse(PEAKS)], ["seed=1"])
    with pytest.raises(UsageError, match="seed: 0 → 1"):
        sweep(points, out)


def test_the_command_prints_one_table_and_marks_the_best(whole, config_file, capsys):
    out, rows = whole
    command = ["sweep", str(config_file), "--grid", PEAKS, "--out", str(out)]
    assert proxylm(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    best = min(rows, key=lambda row: row["held_out"]["raw"])
    (marked,) = [line for line in lines if f"{best['held_out']['raw']:.4f} *" in line]
    assert f"{best['point']['learning_rate.peak']:g}" in marked
    assert proxylm([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {one["read_as"] for one in result["best"]} == {"raw", "compressed"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "learning_rate.peak"], "expected key.sub=value,value"),
        (["--grid", "learning_rate.peak="], "expected key.sub=value,value"),
        (["--grid", "learning_rate.peak=1,1.0,1"], "a value is given twice"),
        (["--grid", "learning_rate.peek=1"], "unknown key 'learning_rate.peek'"),
        (["--grid", "seed=1", "--grid", "seed=1"], "a key is named twice"),
        (["held_out=null", "--grid", "seed=1"], "held_out is null"),
        (["--grid", "seed=[1"], "--grid 'seed=[1': "),
    ],
)
def test_mistakes_are_one_line_before_anything_is_trained(
    config_file, tmp_path, capsys, arguments, message
):
    out = tmp_path / "out"
    assert proxylm(["sweep", str(config_file), *arguments, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_of_something_else_is_left_alone(config_file, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not of a sweep"):
        sweep(points_of([config_file], [Axis.parse(PEAKS)]), tmp_path)


def test_a_grid_over_whole_choices(config_file):
    axis = Axis.parse("mixing.rate={kind: constant, rate: 0},{kind: constant, rate: 0.5}")
    points = points_of([config_file], [axis, Axis.parse("seed=1,2")])
    assert [point.config.mixing.rate.rate for point in points] == [0, 0, 0.5, 0.5]
    assert [point.config.seed for point in points] == [1, 2, 1, 2]
