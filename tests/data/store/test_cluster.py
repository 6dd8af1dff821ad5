"""Shards made by a cluster: the same bytes, a failure in one line, going on after a kill.

Slurm is a stand-in here (``slurm_stub``) that runs every task of a job array for real.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_corpus import gzip_and_units, open_lines, write_json_lines

from proxylm.corpus.contract import Corpus
from proxylm.data.store import cluster
from proxylm.data.store.executors import (
    LocalExecutor,
    RayExecutor,
    SlurmExecutor,
    load_executor,
)
from proxylm.data.store.prepare import prepare_store
from proxylm.errors import DataError, UsageError

STUB = Path(__file__).parent / "slurm_stub"


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """A stand-in's state: what jobs were given, and which were cancelled."""
    state = tmp_path / "slurm"
    state.mkdir()
    monkeypatch.setenv("PATH", f"{STUB}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_STUB", str(state))
    monkeypatch.setattr(cluster, "_PATIENCE_SECONDS", 1.0)
    return state


def slurm_executor(**values) -> SlurmExecutor:
    return SlurmExecutor(partition="cpu", time="1:00", **values)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def fails_halfway(lines: Path, copy: Path) -> Corpus:
    """A corpus whose file is another after it was opened: some shards can be made, others not."""
    shutil.copy(lines, copy)
    corpus = open_lines(copy)
    with copy.open("r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"#")
    return corpus


def test_slurm_writes_what_workers_write(slurm, tmp_path):
    lines = write_json_lines(tmp_path / "lines.jsonl")
    url = f"file://{lines}"
    prepare_store(open_lines(url), gzip_and_units(), tmp_path / "here", workers=1)
    shards = len(open_lines(url).parts())
    executor = slurm_executor(
        shards_per_task=-(-shards // 2), workers=2, gpus_per_task=1, memory_gb=3, qos="high"
    )
    seen = []
    summary = prepare_store(
        open_lines(url),
        gzip_and_units(),
        tmp_path / "there",
        executor=executor,
        progress=lambda progress: seen.append(progress.done_bytes),
    )
    assert content(tmp_path / "there") == content(tmp_path / "here")
    assert (summary.shards, summary.processed_bytes) == (shards, summary.num_bytes)
    assert len(seen) == shards + 1 and seen == sorted(seen)
    [told] = [json.loads(path.read_text()) for path in slurm.glob("*.json")]
    asked = {"array": "0-1%2", "partition": "cpu", "time": "1:00", "gpus": "1", "qos": "high"}
    assert asked.items() <= told.items()
    assert (told["mem-per-cpu"], told["cpus-per-task"], told["wait"]) == ("3G", "1", "")


def test_a_shard_that_fails_on_slurm_fails_the_command_in_one_line(slurm, tmp_path):
    lines = write_json_lines(tmp_path / "lines.jsonl")
    corpus = fails_halfway(lines, tmp_path / "copy.jsonl")
    with pytest.raises(DataError, match=r"copy\.jsonl: changed while it was being read") as error:
        prepare_store(corpus, {}, tmp_path / "s", executor=slurm_executor(shards_per_task=99))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "s" / "manifest.json").exists()
    # What was made until then counts; its tasks are ended before anything else is done.
    assert (tmp_path / "s" / "raw-00000.arrow").exists()
    [attempt] = (tmp_path / "s" / ".prepare" / "fill" / "attempts").iterdir()
    assert (slurm / "cancelled").read_text().split() == [attempt.name]


def test_clusters_that_cannot_be_used_say_so(tmp_path, monkeypatch):
    lines = write_json_lines(tmp_path / "lines.jsonl")

    def refused(match: str, **values) -> None:
        with pytest.raises(UsageError, match=match):
            prepare_store(open_lines(lines), {}, tmp_path / "s", **values)

    monkeypatch.setenv("PATH", str(tmp_path))
    refused("needs sbatch", executor=slurm_executor())
    refused("the executor's file says how many", executor=LocalExecutor(), workers=2)
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setattr(cluster, "_PATIENCE_SECONDS", 0.1)
    refused("sbatch does not take the tasks", executor=slurm_executor())
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    refused("inside a task", executor=slurm_executor())
    monkeypatch.setitem(sys.modules, "ray", None)
    refused(r"pip install 'proxylm\[ray\]'", executor=RayExecutor())


def test_tasks_that_no_ray_cluster_could_begin_are_refused():
    options = {"cpus_per_task": 4, "gpus_per_task": 0, "mem_per_cpu_gb": 1}
    cluster._require_room({"CPU": 4.0, "memory": 4.0 * 2**30}, options)
    with pytest.raises(UsageError, match="a task takes 4 of CPU, and the Ray cluster has 2"):
        cluster._require_room({"CPU": 2.0, "memory": 8.0 * 2**30}, options)
    with pytest.raises(UsageError, match="of memory"):
        cluster._require_room({"CPU": 4.0, "memory": 3.0 * 2**30}, options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind: local\nworkers: 3", LocalExecutor(workers=3)),
        ('kind: slurm\npartition: p\ntime: "1:00"', slurm_executor().model_copy(
            update={"partition": "p"}
        )),
        ("kind: ray\ngpus_per_task: 1", RayExecutor(gpus_per_task=1)),
        ("kind: pbs", "kind: must be local, slurm, ray"),
        ("workers: 3", "kind: must be local, slurm, ray"),
        ("kind: ray\npartition: p", "unknown key 'partition'"),
        ("kind: slurm", "partition"),
        ("kind: ray\nworkers: 0", "workers"),
    ],
)  # fmt: skip
def test_executors_are_read_from_yaml(tmp_path, text, expected):
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    if not isinstance(expected, str):
        assert load_executor(path) == expected
        return
    with pytest.raises(UsageError, match=expected) as error:
        load_executor(path)
    assert "cluster.yaml" in str(error.value)


def start_prepare(lines: Path, out: Path) -> subprocess.Popen:
    """A run of the command on the stand-in, a task per shard and one at a time."""
    executor = out.with_suffix(".yaml")
    executor.write_text('kind: slurm\npartition: cpu\ntime: "1:00"\nworkers: 1\n')
    command = [sys.executable, "-c", "from proxylm.cli.main import main; main()", "prepare"]
    options = ["--corpus", lines, "--part-bytes", "20000", "--compressor", "gz=gzip"]
    return subprocess.Popen(
        [*command, *map(str, options), "--out", str(out), "--executor", str(executor)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, pattern: str) -> None:
    deadline = time.monotonic() + 60
    while not list(path.glob(pattern)):
        assert time.monotonic() < deadline, f"{path}/{pattern} did not come"
        time.sleep(0.05)


@pytest.mark.long
def test_a_killed_run_on_slurm_goes_on_and_ends_what_it_left(slurm, tmp_path):
    lines = write_json_lines(tmp_path / "lines.jsonl", documents=600)
    out = tmp_path / "s"
    first = start_prepare(lines, out)
    wait_for(out, ".prepare/fill/records/*.json")
    first.kill()
    first.wait()  # and not for the tasks, which go on
    [attempt] = (out / ".prepare" / "fill" / "attempts").iterdir()
    made = len(list(out.glob("raw-*.arrow")))
    second = start_prepare(lines, out)
    _, errors = second.communicate()
    assert second.returncode == 0, errors
    assert attempt.name in (slurm / "cancelled").read_text().split()
    whole = start_prepare(lines, tmp_path / "t")
    assert whole.wait() == 0
    assert content(out) == content(tmp_path / "t")
    assert 0 < made < len(list(out.glob("raw-*.arrow")))


@pytest.mark.long
def test_a_task_that_is_killed_is_named_and_done_again(slurm, tmp_path):
    lines = write_json_lines(tmp_path / "lines.jsonl", documents=600)
    out = tmp_path / "s"
    first = start_prepare(lines, out)
    wait_for(out, ".prepare/fill/records/*.json")
    pids = next(slurm.glob("*.pids")).read_text().split()
    deadline = time.monotonic() + 60
    while len(now := next(slurm.glob("*.pids")).read_text().split()) == len(pids):
        assert time.monotonic() < deadline
    os.killpg(int(now[-1]), signal.SIGKILL)
    _, errors = first.communicate()
    assert first.returncode == 1
    *_, last = errors.strip().splitlines()
    assert "was not made: its task ended without a word" in last
    second = start_prepare(lines, out)
    assert second.wait() == 0
    prepared = content(out)
    shutil.rmtree(out)
    assert start_prepare(lines, out).wait() == 0
    assert content(out) == prepared


@pytest.mark.long
def test_ray_writes_what_workers_write(tmp_path):
    pytest.importorskip("ray")
    lines = write_json_lines(tmp_path / "lines.jsonl")
    prepare_store(open_lines(lines), gzip_and_units(), tmp_path / "here", workers=1)
    executor = RayExecutor(workers=2, shards_per_task=4)
    prepare_store(open_lines(lines), gzip_and_units(), tmp_path / "there", executor=executor)
    assert content(tmp_path / "there") == content(tmp_path / "here")


@pytest.mark.long
def test_a_shard_that_fails_on_ray_fails_the_command_in_one_line(tmp_path):
    pytest.importorskip("ray")
    lines = write_json_lines(tmp_path / "lines.jsonl")
    corpus = fails_halfway(lines, tmp_path / "copy.jsonl")
    with pytest.raises(DataError, match=r"copy\.jsonl: changed while it was being read"):
        prepare_store(corpus, {}, tmp_path / "s", executor=RayExecutor(shards_per_task=4))
    shutil.copy(lines, tmp_path / "copy.jsonl")
    # The same again, with the file as it was, goes on where that ended.
    prepare_store(open_lines(tmp_path / "copy.jsonl"), {}, tmp_path / "s", workers=1)
    prepare_store(open_lines(tmp_path / "copy.jsonl"), {}, tmp_path / "t", workers=1)
    assert content(tmp_path / "s") == content(tmp_path / "t")
