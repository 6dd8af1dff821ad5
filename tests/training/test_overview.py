"""``proxylm runs``: runs at a glance, from their own files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from proxylm.cli.main import run as proxylm
from proxylm.errors import DamagedFileError
from proxylm.training.callbacks import Record
from proxylm.training.metrics import read_metrics, recent_records
from proxylm.training.overview import overview_of, runs_below
from proxylm.training.run import train
from proxylm.training.training_run import TrainingRun
from small_runs import make_store, tiny_config


def stop_after_two(run: TrainingRun, record: Record) -> None:
    if run.step == 2:
        run.stop("enough")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, one that was stopped, and things that are none."""
    folder = tmp_path_factory.mktemp("runs")
    store = make_store(folder.parent / "store")
    train(tiny_config(store, steps=4), folder / "done")
    train(tiny_config(store, steps=6), folder / "grid" / "stopped", [stop_after_two])
    (folder / "notes").mkdir()
    (folder / "notes" / "readme.txt").write_text("no run")
    return folder


def test_how_far_runs_are(runs: Path) -> None:
    names = [path.relative_to(runs).as_posix() for path in runs_below(runs)]
    assert names == ["done", "grid/stopped"]
    done, stopped = overview_of(runs / "done"), overview_of(runs / "grid" / "stopped")
    last = read_metrics(runs / "done" / "metrics.jsonl")[-1]
    assert done.is_done and (done.step, done.total_steps) == (4, 4)
    assert not stopped.is_done and (stopped.step, stopped.total_steps) == (2, 6)
    assert done.loss == last["loss"] and done.held_out == last["held_out"]
    assert done.checkpoints == [4, 2] and stopped.checkpoints == [2]
    assert stopped.held_out == {}


def test_a_run_that_has_not_begun_is_at_its_start(runs: Path, tmp_path: Path) -> None:
    config = (runs / "done" / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(config)
    found = overview_of(tmp_path)
    assert (found.step, found.total_steps, found.loss, found.written_at) == (0, 4, None, None)


def test_the_newest_records_come_first_however_they_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "words": "x" * (step * 7 % 23)}) for step in range(40)]
    for torn in ("", '{"step": 40, "wor'):
        path.write_text("".join(f"{line}\n" for line in lines) + torn)
        for size in (1, 5, 64, 1 << 20):
            monkeypatch.setattr("proxylm.training.metrics._BYTES_AT_ONCE", size)
            assert list(recent_records(path)) == [json.loads(line) for line in reversed(lines)]
    path.write_text("")
    assert list(recent_records(path)) == []
    path.write_text("[1]\n")
    with pytest.raises(DamagedFileError, match="not a record"):
        list(recent_records(path))


def test_the_commands(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert proxylm(["runs", "list", str(runs)]) == 0
    _, _, done, stopped = capsys.readouterr().out.splitlines()
    assert done.startswith("done") and "4 of 4 done" in done
    assert stopped.startswith("grid/stopped") and "2 of 6 " in stopped
    assert proxylm(["runs", "list", str(runs), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["runs"]
    assert [(one["step"], one["done"]) for one in listed] == [(4, True), (2, False)]
    assert proxylm(["runs", "show", str(runs / "done"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["config"]["length"] == {"kind": "steps", "steps": 4}
    assert proxylm(["runs", "show", str(runs / "done")]) == 0
    assert "bits per byte" in capsys.readouterr().out


def test_what_is_no_run_is_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert proxylm(["runs", "show", str(runs / "notes")]) == 2
    assert "notes: is no run (no config.yaml)" in capsys.readouterr().err
    assert proxylm(["runs", "list", str(runs / "none")]) == 2
    assert "none: is no folder" in capsys.readouterr().err
    assert proxylm(["runs", "list", str(runs / "notes")]) == 0
    assert "notes: no runs" in capsys.readouterr().out


def test_a_run_that_cannot_be_read_does_not_hide_the_others(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(runs / "done", tmp_path / "good")
    shutil.copytree(runs / "done", tmp_path / "edited")
    with (tmp_path / "edited" / "metrics.jsonl").open("a") as stream:
        stream.write("nonsense{\n")
    assert proxylm(["runs", "list", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "good" in out and "edited" not in out
    assert "left out: " in err and "edited/metrics.jsonl: not a record" in err
    assert proxylm(["runs", "show", str(tmp_path / "edited")]) == 1
    assert "edited/metrics.jsonl: not a record" in capsys.readouterr().err
