"""Progress lines: how many, what they say, and the estimate after a resume."""

from __future__ import annotations

import pytest

from proxylm.training.progress import PlainLines, reported_on_stderr


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def record(step: int, **more: object) -> dict[str, object]:
    return {"step": step, "loss": 1.5, "symbols_per_second": 12_345.6, **more}


def test_lines_come_every_ten_seconds_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = PlainLines(clock)
    for step in range(1, 31):
        clock.now += 1.0
        lines(record(step), 30)
    shown = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in shown] == [
        f"step {step}/30" for step in (1, 11, 21, 30)
    ]
    assert "loss 1.500  12,346 symbols/s" in shown[0]


def test_the_estimate_counts_only_steps_of_this_start(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = PlainLines(clock)
    clock.now += 2.0
    lines(record(51), 100)
    assert capsys.readouterr().err.endswith("0:01:38 left\n")


def test_held_out_scores_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    PlainLines()(record(1, held_out={"raw": 2.5}), 1)
    assert "2.500 bits per byte as raw" in capsys.readouterr().err


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with reported_on_stderr() as report:
        report(record(1), 1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("step 1/1  loss 1.500")
