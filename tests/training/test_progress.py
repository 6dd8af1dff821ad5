"""Progress lines: how many, what they say, and the estimate after a resume."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from proxylm.training.progress import PlainLines, shown_on_stderr


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run_at(step: int, total_steps: int) -> Any:
    return SimpleNamespace(step=step, total_steps=total_steps, finished=step == total_steps)


def record(step: int, **more: object) -> dict[str, object]:
    return {"step": step, "loss": 1.5, "symbols_per_second": 12_345.6, "mfu": 0.354, **more}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("proxylm.training.progress.time.monotonic", clock)
    return clock


def test_lines_come_every_ten_seconds_and_at_the_end(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = PlainLines()
    lines.on_start(run_at(0, 30))
    for step in range(1, 31):
        clock.now += 1.0
        lines.on_step(run_at(step, 30), record(step))
    shown = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in shown] == [
        f"step {step}/30" for step in (1, 11, 21, 30)
    ]
    assert "loss 1.500  12,346 symbols/s" in shown[0]


def test_the_estimate_counts_only_steps_of_this_start(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = PlainLines()
    lines.on_start(run_at(50, 100))
    clock.now += 2.0
    lines.on_step(run_at(51, 100), record(51))
    assert capsys.readouterr().err.endswith("0:01:38 left\n")


def test_held_out_scores_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = PlainLines()
    lines.on_start(run_at(0, 1))
    lines.on_step(run_at(1, 1), record(1, held_out={"raw": 2.5}))
    assert "2.500 bits per byte as raw" in capsys.readouterr().err


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    shown = shown_on_stderr()
    shown.on_start(run_at(0, 1))
    shown.on_step(run_at(1, 1), record(1))
    shown.on_end(run_at(1, 1))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("step 1/1  loss 1.500")
