"""Where the shards of ``prepare`` are made: this machine, a Slurm cluster, or a Ray cluster.

A small YAML file says it; ``kind`` decides which keys there are::

    kind: slurm
    partition: cpu
    time: "4:00:00"
    workers: 64
    shards_per_task: 8
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from proxylm.config import Config, validate_config
from proxylm.config_files import read_config_file
from proxylm.errors import UsageError


class LocalExecutor(Config):
    """Processes of this machine.

    Attributes:
        workers: how many; default one per core.
    """

    kind: Literal["local"] = "local"
    workers: int | None = Field(default=None, ge=1)


class ClusterExecutor(Config):
    """Tasks on the machines of a cluster, which see the store's folder under the same path.

    Attributes:
        workers: tasks that run at a time, at most; default as many as there is room for.
        shards_per_task: shards that a task makes, one after the other.
        cpus_per_task: cores of a task; only a compressor with a model has use for more than one.
        gpus_per_task: GPUs of a task; the scheduler shows each task its own.
        memory_gb: GiB of memory of a task; default what its largest shard takes.
    """

    workers: int | None = Field(default=None, ge=1)
    shards_per_task: int = Field(default=1, ge=1)
    cpus_per_task: int = Field(default=1, ge=1)
    gpus_per_task: int = Field(default=0, ge=0)
    memory_gb: int | None = Field(default=None, ge=1)


class SlurmExecutor(ClusterExecutor):
    """A Slurm cluster: job arrays that ``sbatch`` takes.

    Attributes:
        partition: where the tasks run.
        time: what a task may take, as Slurm writes it.
        qos: quality of service, where the cluster asks for one.
        max_array_size: entries of a job array, as the cluster limits them.
        setup: shell lines that each task begins with (``module load …``).
        sbatch: further options of ``sbatch``, without their dashes.
    """

    kind: Literal["slurm"] = "slurm"
    partition: str
    time: str
    qos: str | None = None
    max_array_size: int = Field(default=1000, ge=1)
    setup: str = ""
    sbatch: dict[str, str] = Field(default_factory=dict)


class RayExecutor(ClusterExecutor):
    """A Ray cluster, or workers of this machine where there is none.

    Attributes:
        address: of the cluster; default the one that Ray finds.
    """

    kind: Literal["ray"] = "ray"
    address: str | None = None


Executor = LocalExecutor | SlurmExecutor | RayExecutor

_KINDS: dict[str, type[Executor]] = {
    "local": LocalExecutor,
    "slurm": SlurmExecutor,
    "ray": RayExecutor,
}


def load_executor(path: Path) -> Executor:
    """Read an executor's YAML file.

    Raises:
        UsageError: it cannot be read, or a key or value is wrong; the message names it.
    """
    if not path.is_file():
        raise UsageError(
            f"executor: {path}: no such file; a YAML file is wanted, with kind: {_one_of(_KINDS)} "
            "and what that needs (docs/cluster.md)"
        )
    file = read_config_file(path)
    kind = file.values.get("kind")
    if kind not in _KINDS:
        raise UsageError(f"{file.origin}: kind: must be {_one_of(_KINDS)} (given: {kind!r})")
    return validate_config(_KINDS[kind], file.values, origin=file.origin)


def _one_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
