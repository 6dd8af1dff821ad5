"""``proxylm train``: its output, its errors, and real kills of the real command."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from proxylm.checkpoints.checkpoint import checkpoint_folders
from proxylm.cli.main import run as proxylm
from proxylm.config import dump_config
from proxylm.training.metrics import read_metrics

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from small_runs import TIMES, make_store, tiny_config

STEPS = 40


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    config = tiny_config(
        make_store(folder / "store"),
        steps=STEPS,
        checkpoints={"every_steps": 3, "keep_last": 2},
        held_out={"every_steps": 10, "max_bytes": 200},
    )
    (folder / "config.yaml").write_text(dump_config(config))
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def whole(config_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert proxylm(["train", str(config_file), "--out", str(run)]) == 0
    return run


def command(config_file: Path, run: Path, *more: str) -> subprocess.Popen[str]:
    arguments = ["train", str(config_file), "--out", str(run), "--json", *more]
    body = "import sys; from proxylm.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", body, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def lines_after_start(process: subprocess.Popen[str]) -> Iterator[str]:
    """Wait for the first progress line."""
    assert process.stderr is not None
    for line in process.stderr:
        yield line
        if line.startswith("step "):
            return


def timeless(run: Path) -> list[dict[str, Any]]:
    records = read_metrics(run / "metrics.jsonl")
    return [{key: value for key, value in r.items() if key not in TIMES} for r in records]


def require_same_bits(run: Path, whole: Path) -> None:
    assert timeless(run) == timeless(whole)
    for name in ("model.safetensors", "optimizer.safetensors"):
        found, expected = (
            load_file(checkpoint_folders(folder / "checkpoints")[0] / name)
            for folder in (run, whole)
        )
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], value) for key, value in expected.items())


def kill_until_done(config_file: Path, run: Path, kills: int, seed: int) -> list[int]:
    """Kill the command ``kills`` times at random moments after its first step, then let it end.

    Returns the newest step that was safe at each kill; it never falls.
    """
    generator = random.Random(seed)
    safe = []
    for _ in range(kills):
        with command(config_file, run) as process:
            list(lines_after_start(process))
            time.sleep(generator.expovariate(1 / 0.03))
            process.send_signal(signal.SIGKILL)
        newest = checkpoint_folders(run / "checkpoints")[:1]
        safe.append(int(newest[0].name.removeprefix("step-")) if newest else 0)
    assert proxylm(["train", str(config_file), "--out", str(run)]) == 0
    return safe


def test_json_is_the_only_output(
    config_file: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert proxylm(["train", str(config_file), "--out", str(whole), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {
        "run", "steps", "symbols", "loss", "held_out", "seconds", "symbols_per_second",
        "training_flops", "parameters", "raw_bytes", "documents", "stopped",
    }  # fmt: skip
    assert result["steps"] == STEPS


def test_kills_at_random_moments_change_no_bit(
    config_file: Path, whole: Path, tmp_path: Path
) -> None:
    safe = kill_until_done(config_file, tmp_path / "run", 2, seed=3)
    assert safe == sorted(safe)
    require_same_bits(tmp_path / "run", whole)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_kills_change_no_bit(config_file: Path, whole: Path, tmp_path: Path) -> None:
    kills = 0
    for trial in range(100):
        safe = kill_until_done(config_file, tmp_path / f"run-{trial}", 5, seed=trial)
        assert safe == sorted(safe)
        require_same_bits(tmp_path / f"run-{trial}", whole)
        kills += len(safe)
        if kills >= 100:
            return


def test_an_interrupt_saves_and_says_how_to_go_on(config_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with command(config_file, run, "length.steps=100000") as process:
        list(lines_after_start(process))
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert process.returncode == 130
    assert output == ""
    assert "stopped by SIGINT after step" in errors
    assert "proxylm: interrupted; run again, commands that save their progress go on" in errors
    assert "Traceback" not in errors
    stopped_at = timeless(run)[-1]["step"]
    assert checkpoint_folders(run / "checkpoints")[0].name == f"step-{stopped_at:08d}"


def test_two_trainers_in_one_folder(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with command(config_file, run, "length.steps=100000") as first:
        list(lines_after_start(first))
        arguments = ["train", str(config_file), "--out", str(run), "length.steps=100000"]
        assert proxylm(arguments) == 2
        first.kill()
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "another trainer is at work" in errors


def test_a_readable_summary(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(config_file), "--out", str(tmp_path / "run"), "length.steps=3"]
    assert proxylm(arguments) == 0
    captured = capsys.readouterr()
    assert "3 steps, 768 symbols" in captured.out
    assert "held out, read as raw:" in captured.out
    assert "step 3/3" in captured.err


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["seed=-1"], "seed"),
        (["lenght.steps=3"], "did you mean 'length'"),
        (["symbols_per_step=100"], "multiple of the model's context 64"),
        (["model.sizes.context=80", "symbols_per_step=80"], "multiple of window 32"),
        (["model.sizes.context=65536", "symbols_per_step=65536"], "longer than the training data"),
        (["data.0.view=bpe"], "no view 'bpe'"),
        (["length.steps=99999999999999999999"], "steps are more than 10000000"),
        (["model.sizes.width=1000000000"], "GB of memory to train on cpu"),
        (["model.sizes.layers=1000000000"], "choose a smaller model"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    config_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    shown: str,
) -> None:
    run = tmp_path / "run"
    status = proxylm(["train", str(config_file), "--out", str(run), *arguments])
    captured = capsys.readouterr()
    assert status in (1, 2)
    assert captured.err.count("\n") == 1
    assert shown in captured.err
    assert not run.exists()


def test_a_folder_that_is_no_run_is_refused(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert proxylm(["train", str(config_file), "--out", str(tmp_path)]) == 2
    assert "not empty and not a run" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
