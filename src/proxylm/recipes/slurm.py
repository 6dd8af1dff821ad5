"""One Slurm job for each artifact of a plan, each after the jobs of what it needs.

A job makes its artifact as ``engine`` does, on the same pool, which all nodes must see. Submitted
again while jobs are waiting, an artifact is made by whoever comes first.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from proxylm.errors import ProxylmError, UsageError
from proxylm.recipes.artifacts import Artifact, Say

LOGS_FOLDER = "logs"


def submit(
    artifacts: Sequence[Artifact],
    pool: Path,
    command: Sequence[str],
    options: Sequence[str],
    say: Say = lambda _: None,
) -> dict[str, str]:
    """Submit what is not there yet, and a last job that writes the table.

    Args:
        artifacts: what others need before them.
        pool: the folder that holds all of them.
        command: writes the table; with ``--only KEY`` it makes one artifact.
        options: of ``sbatch``, for every job.
        say: hears of each job.

    Returns:
        Numbers of jobs by the key of what they make; the last one's by ``table``.

    Raises:
        UsageError: there is no ``sbatch``.
        ProxylmError: it refuses a job.
    """
    logs = pool / LOGS_FOLDER
    logs.mkdir(parents=True, exist_ok=True)
    jobs: dict[str, str] = {}
    for one in artifacts:
        if one.is_settled(pool):
            continue
        after = [jobs[need.key] for need in one.needs if need.key in jobs]
        log = logs / f"{one.kind}-{one.shown_key}.txt"
        jobs[one.key] = _submitted(
            [*command, "--only", one.key], [f"--job-name={one.name}", *options], log, after
        )
        say(f"job {jobs[one.key]}: {one.kind}, {one.name}")
    jobs["table"] = _submitted(command, list(options), logs / "table.txt", list(jobs.values()))
    return jobs


def _submitted(
    command: Sequence[str], options: Sequence[str], log: Path, after: Sequence[str]
) -> str:
    """The number of the job."""
    dependency = [f"--dependency=afterok:{':'.join(after)}"] if after else []
    own = ["--parsable", f"--output={log}", *dependency]
    try:
        done = subprocess.run(
            ["sbatch", *own, *options, f"--wrap={shlex.join(command)}"],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        raise UsageError("--slurm: there is no sbatch here; leave it out, or take --jobs") from None
    if done.returncode:
        raise ProxylmError(f"sbatch: {done.stderr.strip() or 'refused the job'}")
    return done.stdout.strip().partition(";")[0]
