"""``proxylm evaluate`` killed for real, while it generates and while it judges; started again."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmark_data import HUMANEVAL, need_sandbox
from small_models import save_small_run

SAMPLES = 64  # of three problems: three batches
PROGRAM = "import sys; from proxylm.cli.main import run; sys.exit(run(sys.argv[1:]))"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "run"
    save_small_run(folder, seed=6, sharpness=8)
    return folder


def start(run: Path, out: Path) -> subprocess.Popen[str]:
    drawing = ["--samples", SAMPLES, "--temperature", 1.2, "--max-new-bytes", 60]
    options = ["--data", HUMANEVAL, "--execute", "--out", out, "--json"]
    arguments = map(str, ["evaluate", "humaneval", run, *drawing, *options])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(run: Path, out: Path) -> dict[str, Any]:
    process = start(run, out)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    report: dict[str, Any] = json.loads(output)
    return report


def kept(out: Path, name: str) -> list[dict[str, Any]]:
    """Whole lines of a file; a kill can leave the beginning of one."""
    file = out / "sampled" / name
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


def by_key(lines: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    return {(line["task_id"], line["sample"]): line for line in lines}


@pytest.fixture(scope="module")
def uninterrupted(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    need_sandbox()
    out = tmp_path_factory.mktemp("whole") / "out"
    return out, finish(run, out)


def kill_once(run: Path, out: Path, file: str, seconds: float) -> None:
    """SIGKILL so long after the file has grown, or wherever the run is by then."""
    before = len(kept(out, file))
    process = start(run, out)
    while len(kept(out, file)) == before and process.poll() is None:
        time.sleep(0.005)
    time.sleep(seconds)
    process.kill()
    process.communicate(timeout=30)


def assert_equal(run: Path, out: Path, uninterrupted: tuple[Path, Any]) -> None:
    whole, report = uninterrupted
    assert finish(run, out) == report
    for file in ("samples.jsonl", "verdicts.jsonl"):
        assert by_key(kept(out, file)) == by_key(kept(whole, file))
        assert len(by_key(kept(out, file))) == 3 * SAMPLES


@pytest.mark.timeout(300)
def test_kills_lose_nothing_that_was_written(
    run: Path, tmp_path: Path, uninterrupted: tuple[Path, Any]
) -> None:
    out = tmp_path / "out"
    kill_once(run, out, "samples.jsonl", 0.0)
    generated = kept(out, "samples.jsonl")
    assert 0 < len(generated) < 3 * SAMPLES, "the kill came while it generated"
    kill_once(run, out, "verdicts.jsonl", 0.0)
    judged = kept(out, "verdicts.jsonl")
    assert 0 < len(judged) < 3 * SAMPLES, "the kill came while it judged"
    assert kept(out, "samples.jsonl")[: len(generated)] == generated
    assert_equal(run, out, uninterrupted)
    assert kept(out, "verdicts.jsonl")[: len(judged)] == judged


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_forty_kills(run: Path, tmp_path: Path, uninterrupted: tuple[Path, Any]) -> None:
    numbers = random.Random(7)
    for round_ in range(10):
        out = tmp_path / str(round_)
        for file in ("samples.jsonl", "samples.jsonl", "verdicts.jsonl", "verdicts.jsonl"):
            kill_once(run, out, file, numbers.uniform(0, 0.3))
        assert_equal(run, out, uninterrupted)
