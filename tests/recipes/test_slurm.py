"""Slurm: a job for each artifact, after those that it needs; sbatch is a stand-in here."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from proxylm.cli.main import run
from proxylm.recipes.plan import plan_of
from proxylm.recipes.recipe import read_recipe
from proxylm.recipes.scale import read_scale

SBATCH = """\
#!/bin/sh
count=$(ls {folder}/*.job 2>/dev/null | wc -l)
for argument in "$@"; do printf '%s\\n' "$argument"; done > {folder}/$count.job
echo "$((100 + count));cluster"
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a stand-in for sbatch writes the arguments of each job."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(SBATCH.format(folder=folder))
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}")
    return folder


def submitted(pool: Path, name: str, options: str = "--partition=long --time=60") -> int:
    where = ["--scale", "micro", "--pool", str(pool), "--json"]
    return run(["recipe", "run", name, *where, "--slurm", options])


def test_every_artifact_is_a_job_after_those_that_it_needs(
    jobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = tmp_path / "pool"
    assert submitted(pool, "figure4") == 0
    numbers = json.loads(capsys.readouterr().out)["jobs"]
    artifacts = plan_of(read_recipe("figure4"), read_scale("micro")).artifacts()
    assert list(numbers) == [*(one.key for one in artifacts), "table"]
    for number, one in enumerate(artifacts):
        arguments = (jobs / f"{number}.job").read_text().splitlines()
        after = {f"--dependency=afterok:{numbers[need.key]}" for need in one.needs}
        assert {argument for argument in arguments if "dependency" in argument} == after
        assert {"--partition=long", "--time=60", f"--job-name={one.name}"} <= set(arguments)
        assert arguments[-1].startswith("--wrap=") and one.key in arguments[-1]
    last = (jobs / f"{len(artifacts)}.job").read_text()
    assert "--only" not in last and numbers["table"] not in last
    assert all(number in last for key, number in numbers.items() if key != "table")


@pytest.mark.long
def test_a_job_makes_its_artifact_and_what_is_there_is_not_submitted(
    jobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = tmp_path / "pool"
    assert submitted(pool, "figure4") == 0
    gzip = next(path for path in jobs.iterdir() if "--job-name=gzip\n" in path.read_text())
    [wrapped] = re.findall(r"^--wrap=(.*)$", gzip.read_text(), re.M)
    subprocess.run(wrapped, shell=True, check=True, capture_output=True)
    before = len(list(jobs.iterdir()))
    capsys.readouterr()
    assert submitted(pool, "figure4") == 0
    assert len(json.loads(capsys.readouterr().out)["jobs"]) == before - 1


def test_a_job_whose_artifact_is_another_one_here_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--scale", "micro", "--pool", str(tmp_path / "pool")]
    assert run(["recipe", "run", "figure4", *where, "--only", "0" * 64]) == 2
    assert "nothing of the recipe has that key here" in capsys.readouterr().err


def test_without_slurm_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert submitted(tmp_path / "pool", "figure4") == 2
    assert "there is no sbatch here" in capsys.readouterr().err
    assert submitted(tmp_path / "pool", "figure4", "--comment='open") == 2
    assert "--slurm --comment='open: No closing quotation" in capsys.readouterr().err
