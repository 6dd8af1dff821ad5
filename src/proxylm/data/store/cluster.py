"""Running a job's shards as tasks of datatrove's Slurm or Ray executor.

The tasks write the same files and records as workers of this machine do, so what says that a shard
is done is its record, whatever an executor thinks of its tasks: Ray's says nothing of one that
failed. A task that fails leaves its message in the *attempt*: the folder of one submission, which
also has the scheduler's logs.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from datatrove.executor.base import PipelineExecutor
from datatrove.executor.slurm import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger as datatrove_logger

from proxylm.data.store.executor import ShardExecutor
from proxylm.data.store.executors import RayExecutor, SlurmExecutor
from proxylm.data.store.job import PrepareJob
from proxylm.data.store.steps import record_path
from proxylm.data.store.worker_process import ONE_THREAD, SentJob, environment
from proxylm.errors import DataError, ProxylmError, UsageError, needing_extra, one_line
from proxylm.files import read_json, write_json

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_END = 5.0
_PATIENCE_SECONDS = 60.0
"""How long a network's file system may take to show what the last tasks have written."""

_SENT_NAME = "job.pickle"
_FAILED = "failed-"
_GIB = 1 << 30


class MakeShards(PipelineStep):
    """A task: some shards of the job that lies in the attempt's folder, one after the other.

    Args:
        attempt: the folder.
        tasks: the shards of each task.
        start: the folder that relative paths of a corpus begin in.
        threads: of a library that has use for several: torch, where a compressor has a model.
    """

    name, type = "shards", "writer"

    def __init__(
        self, attempt: Path, tasks: Sequence[Sequence[int]], start: Path, threads: int
    ) -> None:
        super().__init__()
        self.attempt = attempt
        self.tasks = tasks
        self.start = start
        self.threads = threads

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Make the shards of task ``rank``; an error is left in the attempt, too."""
        shard = self.tasks[rank][0]
        # Before the libraries come in that read them: the job brings its compressors.
        threads = {**ONE_THREAD, "OMP_NUM_THREADS": str(self.threads)}
        try:
            with environment(threads), chdir(self.start):
                pickled = (self.attempt / _SENT_NAME).read_bytes()
                executor = SentJob(pickled=pickled, needs_main=False).unpickled()
                for shard in self.tasks[rank]:
                    # A task that the scheduler begins again goes on.
                    if not record_path(executor.job.records, shard).exists():
                        executor.run_shard(shard)
        except Exception as error:
            is_ours = isinstance(error, ProxylmError)
            message = str(error) if is_ours else f"{type(error).__name__}: {one_line(error)}"
            write_json(_failure_path(self.attempt, shard), message)
            raise
        yield from ()


class _WaitingSlurm(SlurmPipelineExecutor):
    """Submits and waits; the statistics of datatrove's own, which nobody reads, are not merged."""

    def launch_merge_stats(self) -> None:
        """Nothing."""


def run_on_cluster(
    cluster: SlurmExecutor | RayExecutor,
    shards: ShardExecutor,
    sent: SentJob,
    left: list[int],
    on_done: Callable[[int], None],
) -> None:
    """Make shards of a job on a cluster; ``on_done(rank)`` is called after each.

    Raises:
        DataError: a shard cannot be made, or was not; the first of them is named.
        UsageError: the cluster cannot be used as it is asked for.
    """
    if not left:
        return
    job = shards.job
    attempt = (job.attempts / f"proxylm-{uuid.uuid4().hex[:12]}").absolute()
    attempt.mkdir(parents=True)
    (attempt / _SENT_NAME).write_bytes(sent.pickled)
    for rank in left:  # a record whose files are damaged says nothing
        record_path(job.records, rank).unlink(missing_ok=True)
    size = cluster.shards_per_task
    tasks = [left[first : first + size] for first in range(0, len(left), size)]
    need = max(shards.memory_for(rank) for rank in left) + 2 * len(sent.pickled)
    step = MakeShards(attempt, tasks, Path.cwd(), cluster.cpus_per_task)
    with _submitted(cluster, step, need) as submission:
        waiting = _wait(job, attempt, submission, set(left), on_done)
    if waiting:
        raise _not_written(job, min(waiting), attempt, submission.exception())


def cancel_former_attempts(job: PrepareJob) -> None:
    """End the tasks of a run that was killed: Slurm would let them go on."""
    if shutil.which("scancel"):
        for attempt in job.attempts.iterdir():
            _cancel(attempt)


def _cancel(attempt: Path) -> None:
    subprocess.run(["scancel", f"--name={attempt.name}"], check=False, capture_output=True)


def _wait(
    job: PrepareJob,
    attempt: Path,
    submission: Future[None],
    waiting: set[int],
    on_done: Callable[[int], None],
) -> set[int]:
    """Take shards as they are finished, until the tasks have ended; returns those that are not."""
    deadline = math.inf
    while waiting and time.monotonic() < deadline:
        if deadline < math.inf:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        elif wait([submission], timeout=_SECONDS_BETWEEN_LOOKS).done:
            deadline = time.monotonic() + _PATIENCE_SECONDS
        written = set(job.records.iterdir())
        finished = {rank for rank in waiting if record_path(job.records, rank) in written}
        for rank in sorted(finished):
            on_done(rank)
        waiting -= finished
        for path in sorted(attempt.glob(f"{_FAILED}*.json")):
            raise DataError(read_json(path))
    # The last shards are there before their tasks have ended, which write into the attempt.
    wait([submission], timeout=_PATIENCE_SECONDS)
    return waiting


def _not_written(
    job: PrepareJob, rank: int, attempt: Path, error: BaseException | None
) -> ProxylmError:
    if isinstance(error, subprocess.CalledProcessError) and not error.output:
        return UsageError(
            f"{job.folder}: {error.cmd[0]} does not take the tasks (it says why above); correct "
            "the executor's file"
        )
    why = f"; {one_line(error)}" if error is not None else ""
    return DataError(
        f"{job.folder}: shard {rank} was not made: its task ended without a word (its memory or "
        f"its time was over?{why}); logs are in {attempt}; run the same command again to go on"
    )


def _options(cluster: SlurmExecutor | RayExecutor, step: MakeShards, need: int) -> dict[str, Any]:
    """What both of datatrove's executors are told of a step.

    Args:
        cluster: where it runs.
        step: what each task does.
        need: bytes of memory that a task takes, where the cluster's configuration does not say.
    """
    memory_gb = cluster.memory_gb or math.ceil(need / _GIB)
    return {
        "pipeline": [step],
        "tasks": len(step.tasks),
        "workers": cluster.workers or -1,
        "cpus_per_task": cluster.cpus_per_task,
        # Both schedulers count memory by core.
        "mem_per_cpu_gb": math.ceil(memory_gb / cluster.cpus_per_task),
        "gpus_per_task": cluster.gpus_per_task,
        "logging_dir": str(step.attempt),
    }


@contextmanager
def _submitted(
    cluster: SlurmExecutor | RayExecutor, step: MakeShards, need: int
) -> Iterator[Future[None]]:
    """Run a step on a cluster, in a thread; an error inside ends its tasks."""
    options = _options(cluster, step, need)
    if isinstance(cluster, SlurmExecutor):
        opened = _slurm(cluster, options)
    else:
        opened = _ray(cluster, options)
    datatrove_logger.disable("datatrove")
    try:
        with opened as (executor, cancel):
            submission = _in_thread(executor.run)
            try:
                yield submission
            except BaseException:
                cancel()
                wait([submission], timeout=_SECONDS_TO_END)
                raise
    finally:
        datatrove_logger.enable("datatrove")


def _in_thread(function: Callable[[], None]) -> Future[None]:
    """Call a function that may never end, in a thread that holds nobody up."""
    ended = Future[None]()

    def run() -> None:
        try:
            function()
        except BaseException as error:
            ended.set_exception(error)
        else:
            ended.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    return ended


_Opened = tuple[PipelineExecutor, Callable[[], None]]
"""An executor, and what ends its tasks."""


@contextmanager
def _slurm(cluster: SlurmExecutor, options: dict[str, Any]) -> Iterator[_Opened]:
    if shutil.which("sbatch") is None:
        raise UsageError("executor: slurm needs sbatch; run this where jobs are submitted")
    if os.environ.get("SLURM_ARRAY_TASK_ID") is not None:
        raise UsageError("executor: slurm cannot be used inside a task of a job array; leave it")
    attempt = Path(options["logging_dir"])
    executor = _WaitingSlurm(
        **options,
        time=cluster.time,
        partition=cluster.partition,
        qos=cluster.qos,
        job_name=attempt.name,
        tasks_per_job=1,
        max_array_size=cluster.max_array_size,
        env_command=cluster.setup,
        sbatch_args={"wait": "", **cluster.sbatch},
        slurm_logs_folder=str(attempt / "slurm"),
        # A step of its own would have to be told the cores of its task again.
        with_srun=False,
    )
    # The tasks find datatrove's launcher where this interpreter has it.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with environment({"PATH": path}):
        yield executor, lambda: _cancel(attempt)


@contextmanager
def _ray(cluster: RayExecutor, options: dict[str, Any]) -> Iterator[_Opened]:
    with needing_extra("executor: ray", "ray"):
        import ray
        from datatrove.executor.ray import RayPipelineExecutor
    # What comes after the end must not begin another cluster.
    with environment({"RAY_ENABLE_AUTO_CONNECT": "0"}):
        ray.init(
            address=cluster.address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            _require_room(ray.cluster_resources(), options)
            yield RayPipelineExecutor(**options), ray.shutdown
        finally:
            ray.shutdown()


def _require_room(resources: dict[str, float], options: dict[str, Any]) -> None:
    """Refuse tasks that no cluster of this size could ever begin: Ray would wait for ever."""
    wanted = {
        "CPU": options["cpus_per_task"],
        "GPU": options["gpus_per_task"],
        "memory": options["mem_per_cpu_gb"] * options["cpus_per_task"] * _GIB,
    }
    for name, amount in wanted.items():
        if amount > resources.get(name, 0):
            raise UsageError(
                f"executor: a task takes {amount:g} of {name}, and the Ray cluster has "
                f"{resources.get(name, 0):g}; lower cpus_per_task, gpus_per_task or memory_gb"
            )


def _failure_path(attempt: Path, shard: int) -> Path:
    return attempt / f"{_FAILED}{shard:05d}.json"
