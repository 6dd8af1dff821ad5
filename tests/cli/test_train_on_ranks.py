"""``torchrun -m proxylm train``: one voice, a clean end, started again when killed, saved if told.

The commands of docs/cluster.md, on this machine's processors.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import ranked_runs
from proxylm.checkpoints.checkpoint import newest_valid
from proxylm.config import dump_config
from proxylm.training.metrics import read_metrics
from ranked_runs import changes
from small_runs import make_store, tiny_config
from started_ranks import run_ranks

PATIENCE_SECONDS = 300


def configuration(folder: Path, steps: int) -> Path:
    """A file that trains so many steps, saved after each, on a store beside it."""
    store = make_store(folder / "store")
    often = {"every_steps": 1, "keep_last": 2}
    config = tiny_config(store, steps=steps, **changes(checkpoints=often, held_out=None))
    path = folder / "run.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    return path


@pytest.mark.long
def test_the_command_speaks_with_one_voice(tmp_path: Path) -> None:
    arguments = ["train", str(configuration(tmp_path, 2)), "--out", str(tmp_path / "run"), "--json"]
    first, second = run_ranks(2, ranked_runs.command, arguments)
    assert first.status == second.status == 0
    assert json.loads(first.stdout)["steps"] == 2
    assert "step 2/2" in first.stderr
    assert (second.stdout, second.stderr) == ("", "")
    changed = [*arguments, "seed=5"]
    first, second = run_ranks(2, ranked_runs.command, changed)
    assert first.status == second.status == 2
    assert "seed: 0 → 5" in first.stderr
    assert (second.stdout, second.stderr) == ("", "")


def torchrun(folder: Path, *options: str, steps: int) -> subprocess.Popen[str]:
    """Two ranks of ``proxylm train``, as the page says it."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    train = ["-m", "proxylm", "train", str(configuration(folder, steps)), "--json"]
    return subprocess.Popen(
        [*command, *options, *train, "--out", str(folder / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "1"},
    )


def wait_for_step(run: Path, step: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    path = run / "metrics.jsonl"
    while not path.exists() or len(read_metrics(path)) < step:
        assert time.monotonic() < deadline, "no step is made"
        time.sleep(0.05)


@pytest.mark.long
def test_torchrun_starts_killed_ranks_again(tmp_path: Path) -> None:
    steps, run = 60, tmp_path / "run"
    with torchrun(tmp_path, "--max-restarts=2", steps=steps) as launcher:
        for kill in range(2):
            wait_for_step(run, 10 * (1 + kill))
            workers = psutil.Process(launcher.pid).children()
            workers[kill].send_signal(signal.SIGKILL)
        stdout, stderr = launcher.communicate(timeout=PATIENCE_SECONDS)
    assert launcher.returncode == 0, stderr
    assert json.loads(stdout)["steps"] == steps
    records = read_metrics(run / "metrics.jsonl")
    assert [one["step"] for one in records] == list(range(1, steps + 1))


@pytest.mark.long
def test_a_signal_to_torchrun_saves_one_common_step(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with torchrun(tmp_path, steps=5000) as launcher:
        wait_for_step(run, 3)
        launcher.send_signal(signal.SIGTERM)
        _, stderr = launcher.communicate(timeout=PATIENCE_SECONDS)
    assert "stopped by SIGTERM after step" in stderr
    checkpoint = newest_valid(run)
    assert checkpoint is not None
    assert checkpoint.state.step == len(read_metrics(run / "metrics.jsonl"))


@pytest.mark.long
def test_torchrun_ends_without_a_word_too_many(tmp_path: Path) -> None:
    with torchrun(tmp_path, steps=2) as launcher:
        stdout, stderr = launcher.communicate(timeout=PATIENCE_SECONDS)
    assert launcher.returncode == 0, stderr
    assert json.loads(stdout)["run"] == str(tmp_path / "run")
    assert "Traceback" not in stderr
