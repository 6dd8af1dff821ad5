"""The metrics file: appended, cut back on resume, repaired after a torn line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from proxylm.training.callbacks import watched
from proxylm.training.event_file import TensorBoard
from proxylm.training.metrics import MetricsLog, keep_until, read_metrics


def written(folder: Path, first: int, last: int, *, resumed_step: int) -> Path:
    run: Any = SimpleNamespace(folder=folder, step=resumed_step)
    with watched(run, [MetricsLog(), TensorBoard()]) as after_step:
        for step in range(first, last + 1):
            after_step({"step": step, "loss": 10.0 / step, "held_out": {"raw": 0.5}, "text": "x"})
    return folder / "metrics.jsonl"


def steps_of(path: Path) -> list[int]:
    return [record["step"] for record in read_metrics(path)]


def test_lines_are_json_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, 1, 3, resumed_step=0)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert records[1] == {"step": 2, "loss": 5.0, "held_out": {"raw": 0.5}, "text": "x"}
    assert steps_of(path) == [1, 2, 3]


def test_resume_drops_steps_after_the_checkpoint(tmp_path: Path) -> None:
    written(tmp_path, 1, 5, resumed_step=0)
    path = written(tmp_path, 4, 7, resumed_step=3)
    assert steps_of(path) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("torn", [b'{"step": 4, "lo', b'{"step": 4', b"\x00\x00\x00\x00\n", b"{"])
def test_a_torn_last_line_is_repaired(tmp_path: Path, torn: bytes) -> None:
    path = written(tmp_path, 1, 3, resumed_step=0)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert steps_of(path) == [1, 2, 3]
    keep_until(path, 10)
    assert path.read_bytes() == whole


def test_an_intact_file_is_not_rewritten(tmp_path: Path) -> None:
    path = written(tmp_path, 1, 3, resumed_step=0)
    inode = path.stat().st_ino
    keep_until(path, 3)
    assert path.stat().st_ino == inode


def test_nan_is_refused(tmp_path: Path) -> None:
    run: Any = SimpleNamespace(folder=tmp_path, step=0)
    with watched(run, [MetricsLog()]) as after_step, pytest.raises(ValueError):
        after_step({"step": 1, "loss": float("nan")})


def test_tensorboard_holds_the_same_numbers_once(tmp_path: Path) -> None:
    written(tmp_path, 1, 5, resumed_step=0)
    written(tmp_path, 4, 6, resumed_step=3)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    losses = board.Scalars("loss")
    assert [event.step for event in losses] == [1, 2, 3, 4, 5, 6]
    assert losses[4].value == pytest.approx(2.0)
    assert {event.value for event in board.Scalars("held_out/raw")} == {0.5}


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    """A real limit on file sizes, in a process of its own."""
    body = (
        "import resource, sys; from pathlib import Path;"
        "from types import SimpleNamespace;"
        "from proxylm.training.metrics import MetricsLog;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "log, run = MetricsLog(), SimpleNamespace(folder=Path(sys.argv[1]), step=0);"
        "log.on_start(run);"
        "[log.on_step(run, {'step': step, 'loss': 0.5}) for step in range(1, 1000)]"
    )
    command = [sys.executable, "-B", "-c", body, str(tmp_path)]  # no cut-off compiled modules
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last_line = done.stderr.strip().splitlines()[-1]
    assert last_line.startswith("proxylm.errors.DataError")
    assert "metrics.jsonl: cannot be written" in last_line
    assert "intact" not in last_line  # nothing is known of checkpoints here
    assert "thread" not in done.stderr
    keep_until(tmp_path / "metrics.jsonl", 10**9)
    assert steps_of(tmp_path / "metrics.jsonl")[:3] == [1, 2, 3]
