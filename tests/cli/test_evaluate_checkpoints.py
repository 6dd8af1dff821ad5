"""``proxylm evaluate checkpoints``: an evaluation on several checkpoints of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import proxylm
from proxylm.checkpoints.checkpoint import checkpoint_folders
from proxylm.cli.main import run as run_command
from proxylm.training.metrics import read_metrics
from proxylm.training.run import train
from small_runs import make_store, tiny_config

TEXT = b"def x = y\n" * 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps: milestones at 2, 4 and 6, and the newest checkpoints at 5 and 6."""
    place = tmp_path_factory.mktemp("run")
    checkpoints = {"every_steps": 1, "keep_last": 2, "keep_every_steps": 2}
    train(tiny_config(make_store(place / "store"), checkpoints=checkpoints), place / "run")
    (place / "text").write_bytes(TEXT)
    return place / "run"


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert run_command(["evaluate", "checkpoints", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_each_checkpoint_is_scored_as_if_alone(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = json.loads(evaluate(capsys, "--json", run, "bpb", run.parent / "text"))
    rows = result["checkpoints"]
    assert [row["step"] for row in rows] == [2, 4, 5, 6]
    records = {record["step"]: record for record in read_metrics(run / "metrics.jsonl")}
    folders = sorted(checkpoint_folders(run / "checkpoints"))
    for row, folder in zip(rows, folders, strict=True):
        for name in ("training_flops", "symbols", "raw_bytes", "raw_format_bytes"):
            assert row[name] == records[row["step"]][name]
        [expected] = proxylm.load(folder).bits_per_byte([TEXT])
        assert row["result"]["total"]["bits_per_byte"] == pytest.approx(expected, rel=1e-6)
        assert row["result"]["about"]["checkpoint"] == folder.name


def test_milestones_in_a_table_of_chosen_numbers(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--every-steps", "2", "--show", "total.bits_per_byte"]
    text = evaluate(capsys, *chosen, run, "bpb", run.parent / "text", "--context", "32")
    header, _, *lines = text.splitlines()
    assert header.split() == [
        *("step", "training", "FLOPs", "symbols", "raw", "bytes", "total.bits_per_byte"),
    ]
    assert [line.split()[0] for line in lines] == ["2", "4", "6"]
    assert [line.split()[2] for line in lines] == ["512", "1,024", "1,536"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "bits"], "no evaluation 'bits'; there are: humaneval, mbpp, "),
        (["--every-steps", "7", "RUN", "bpb", "TEXT"], "at: 2, 4, 5, 6"),
        (["TEXT", "bpb", "TEXT"], "no checkpoints there"),
        (["RUN", "bpb", "TEXT", "--strid", "3"], "--strid"),
        (["RUN", "bpb"], "give files or folders to score"),
        (["--show", "bits", "RUN", "bpb", "TEXT"], "--show bits: no number of the result"),
    ],
)
def test_mistakes_end_it_at_once(
    run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"RUN": str(run), "TEXT": str(run.parent / "text")}
    given = [places.get(argument, argument) for argument in arguments]
    assert run_command(["evaluate", "checkpoints", *given]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert "2 of" not in output.err


def test_a_damaged_checkpoint_costs_its_own_row_alone(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = run / "checkpoints" / "step-00000004" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    try:
        command = ["evaluate", "checkpoints", "--json", str(run), "bpb", str(run.parent / "text")]
        assert run_command(command) == 1
    finally:
        weights.write_bytes(whole)
    output = capsys.readouterr()
    assert [row["step"] for row in json.loads(output.out)["checkpoints"]] == [2, 5, 6]
    assert f"{weights}: has" in output.err.splitlines()[-1]
