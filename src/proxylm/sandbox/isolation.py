"""What every isolation tier gives: a confined worker process, or the reason why it cannot.

A tier knows what this machine lacks for it, how the worker's process is started, and what the
worker still has to give up itself (``inside/confinement.py``). Common to all tiers are a fresh
unprivileged uid per run where proxylm runs as root, resource limits, an empty environment, and a
Python with nothing but its standard library: installed packages may hold a benchmark's answers.
"""

from __future__ import annotations

import math
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORKER_FOLDER = Path(__file__).parent / "inside"
WORKER_SCRIPT = "start.py"

INTERPRETER = Path(sys.executable).resolve()
STANDARD_LIBRARY = Path(os.__file__).resolve().parent
INSTALLED_PACKAGES = ("site-packages", "dist-packages")
SYSTEM_LIBRARY_FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")

# Fixed hash seed: the order of a set of strings must not decide a verdict anew in every run.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
INTERPRETER_OPTIONS = ("-S", "-s", "-B")

# Above every range that distributions, systemd and container tools hand out.
FIRST_FRESH_UID = 0x7000_0000
FRESH_UIDS = 0x0FFF_0000
FEWEST_UIDS = 1 << 15

# Bounds on one run beside its time; reaching one is the program's failure.
MEMORY_BYTES = 1 << 30
FILE_BYTES = 16 << 20
PROCESSES = 32
OPEN_FILES = 64


class Isolation(ABC):
    """One way to run the worker so that nothing gets out."""

    name: str
    needs: str
    """What to do on a machine where this tier does not work."""

    @abstractmethod
    def lacking(self) -> str | None:
        """Why this machine cannot use the tier, as far as can be told without trying."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what all runs share; called once per process that starts workers."""

    @abstractmethod
    def command(self, descriptors: Sequence[int]) -> list[str]:
        """The command line that starts the worker with these two descriptors."""

    @abstractmethod
    def settings(self, timeout_s: float) -> dict[str, Any]:
        """What the worker gives up itself; see ``inside.confinement.confine``."""

    def shared_descriptors(self) -> list[int]:
        """Open descriptors that the worker's process inherits besides its own two."""
        return []


def rlimits(timeout_s: float, *, count_processes: bool) -> dict[str, int]:
    """Values by ``RLIMIT_`` name.

    Processor time only backs up the clock. Processes are counted per uid: the limit means
    something only where the uid is the run's own.
    """
    limits = {
        "RLIMIT_AS": MEMORY_BYTES,
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": math.ceil(timeout_s) + 2,
        "RLIMIT_FSIZE": FILE_BYTES,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_NOFILE": OPEN_FILES,
    }
    return {**limits, "RLIMIT_NPROC": PROCESSES} if count_processes else limits


def may_change_uid() -> bool:
    """Whether runs can have a uid of their own: as root, where there are others than root."""
    return os.geteuid() == 0 and _last_mapped_uid() > FEWEST_UIDS


def fresh_uid() -> int | None:
    """A uid that nobody else has, or None where we may not change ours.

    It follows from our own process number, which no two live processes share.
    """
    if not may_change_uid():
        return None
    first, count = FIRST_FRESH_UID, FRESH_UIDS
    last_mapped = _last_mapped_uid()
    if last_mapped < first + count:  # a container with few uids: the upper half of those
        first, count = last_mapped - last_mapped // 2, last_mapped // 2
    return first + os.getpid() % count


def _last_mapped_uid() -> int:
    lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    extents = [tuple(map(int, line.split())) for line in lines]
    return max(inside + length - 1 for inside, _, length in extents)


def worker_arguments(folder: str, descriptors: Sequence[int]) -> list[str]:
    """The interpreter and the worker script as it lies in ``folder``."""
    script = f"{folder}/{WORKER_SCRIPT}"
    return [str(INTERPRETER), *INTERPRETER_OPTIONS, script, *map(str, descriptors)]


def library_folders() -> list[Path]:
    """Where the interpreter and its extension modules find shared libraries and themselves."""
    folders = [Path(folder) for folder in SYSTEM_LIBRARY_FOLDERS if Path(folder).is_dir()]
    return [*folders, STANDARD_LIBRARY]


def interpreter_files() -> list[Path]:
    """The interpreter, its own shared library, and the loader's cache."""
    own = sorted(Path(sys.base_prefix, "lib").glob("libpython*.so*"))
    return [INTERPRETER, *own, *filter(Path.exists, [Path("/etc/ld.so.cache")])]


def installed_packages() -> list[Path]:
    """Folders of installed packages below the library folders; the worker must not see them."""
    places = [STANDARD_LIBRARY, *(Path(folder) for folder in SYSTEM_LIBRARY_FOLDERS)]
    patterns = [f"{depth}{name}" for name in INSTALLED_PACKAGES for depth in ("", "python3*/")]
    found = {path.resolve() for place in places for name in patterns for path in place.glob(name)}
    return sorted(path for path in found if path.is_dir())
