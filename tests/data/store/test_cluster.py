"""Shards made by a cluster: the same bytes, a failure in one line, going on after a kill.

Slurm is a stand-in here (``slurm_stub``) that runs every task of a job array for real.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_corpus import gzip_and_units, open_lines, write_json_lines

from documents import blocks
from proxylm.cli.main import run
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
    corpus = open_lines(f"file://{copy}")
    with copy.open("r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"#")
    return corpus


def test_the_commands_of_the_page_write_on_slurm_what_workers_write(slurm, tmp_path, monkeypatch):
    section = "Preparing on a cluster"
    monkeypatch.chdir(tmp_path)
    write_json_lines(tmp_path / "src.jsonl")
    (tmp_path / "src").mkdir()
    (tmp_path / "src.jsonl").rename(tmp_path / "src" / "a.jsonl")
    [text] = blocks("docs/cluster.md", "yaml", section=section)
    Path("cluster.yaml").write_text(text)
    [commands] = blocks("docs/cluster.md", "sh", section=section)
    first, verify = (shlex.split(line)[1:] for line in commands.splitlines())
    small = ["--part-bytes", "2000"]
    assert run([*first, *small]) == 0
    assert run([*verify]) == 0
    first[first.index("--out") + 1] = "here"
    del first[first.index("--executor") :]
    assert run([*first, *small, "--workers", "1"]) == 0
    assert content(Path("views/src")) == content(Path("here"))
    [told] = [json.loads(path.read_text()) for path in slurm.glob("*.json")]
    shards = len(list(Path("here").glob("raw-*")))
    assert shards > 8
    last = -(-shards // 8) - 1
    assert told["array"] == f"0-{last}%64"
    assert (told["partition"], told["time"], told["wait"]) == ("cpu", "4:00:00", "")


def test_what_slurm_is_told_of_a_task(slurm, tmp_path):
    executor = slurm_executor(cpus_per_task=2, gpus_per_task=1, qos="high", sbatch={"account": "a"})
    step = cluster.MakeShards(tmp_path, [[0]], tmp_path, 2)
    with cluster._slurm(executor, cluster._options(executor, step, 5 << 30)) as (made, _):
        told = made.get_sbatch_args()
    expected = {"cpus-per-task": 2, "mem-per-cpu": "3G", "gpus": 1, "qos": "high", "account": "a"}
    assert expected.items() <= told.items()


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
        ("kind: pbs", "kind: must be local, slurm or ray"),
        ("workers: 3", "kind: must be local, slurm or ray"),
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


def test_a_kind_in_place_of_a_file_is_told_what_is_wanted():
    with pytest.raises(UsageError, match="slurm: no such file; a YAML file is wanted, with kind"):
        load_executor(Path("slurm"))


def test_an_executor_is_read_before_the_corpus(tmp_path, capsys):
    where = ["--corpus", str(tmp_path / "none"), "--out", str(tmp_path / "s")]
    assert run(["prepare", *where, "--executor", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml: no such file" in capsys.readouterr().err


def test_late_records_are_looked_for_now_and_then(tmp_path, monkeypatch):
    """After its tasks have ended, the file system gets time, and is not asked without a break."""
    monkeypatch.setattr(cluster, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(cluster, "_SECONDS_BETWEEN_LOOKS", 0.05)
    looks = []
    records = SimpleNamespace(iterdir=lambda: looks.append(1) or ())
    job, ended = SimpleNamespace(records=records), Future()
    ended.set_result(None)
    monkeypatch.setattr(cluster, "record_path", lambda records, rank: rank)
    assert cluster._wait(job, tmp_path, ended, {3}, print) == {3}
    assert 2 <= len(looks) <= 6


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
    damaged = out / "raw-00000.arrow"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
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
    for out in ("s", "t"):
        prepare_store(open_lines(f"file://{tmp_path}/copy.jsonl"), {}, tmp_path / out, workers=1)
    assert content(tmp_path / "s") == content(tmp_path / "t")
