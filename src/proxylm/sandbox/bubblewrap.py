"""The first tier: bubblewrap, namespaces of the worker's own, seccomp within them.

The worker sees a root of a few read-only folders (shared libraries, Python's standard library),
nothing to write to, no network, no processes but its own. Where proxylm runs as root, bubblewrap
must stay root until the worker runs, since only root may mount what the worker needs; it keeps just
the right to change the uid, which the worker uses at once and loses with it. Where it does not,
bubblewrap makes a user namespace.

On processors whose system call numbers are not listed the namespaces stand without seccomp.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proxylm.sandbox.isolation import (
    WORKER_FOLDER,
    Isolation,
    fresh_uid,
    installed_packages,
    interpreter_files,
    library_folders,
    may_change_uid,
    rlimits,
    worker_arguments,
)
from proxylm.sandbox.seccomp import seccomp_program

INSIDE_FOLDER = "/proxylm-worker"
NAMESPACES = tuple(f"--unshare-{kind}" for kind in ("ipc", "pid", "net", "uts", "cgroup-try"))
KEPT_CAPABILITIES = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")


class Bubblewrap(Isolation):
    """Namespaces made by ``bwrap``."""

    name = "bubblewrap"
    needs = "the package bubblewrap (Debian, Ubuntu: apt-get install bubblewrap), and namespaces"

    def lacking(self) -> str | None:
        """The missing program; whether namespaces are allowed shows only when it runs."""
        return None if shutil.which("bwrap") else "the program bwrap is not installed"

    def prepare(self) -> None:
        """Collect the mounts, which are the same for every run."""
        kept = [word for name in KEPT_CAPABILITIES for word in ("--cap-add", name)]
        privileges = kept if may_change_uid() else ["--unshare-user"]
        self._arguments = [
            *NAMESPACES,
            *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
            *privileges,
            *mounts(),
        ]

    def command(self, descriptors: Sequence[int]) -> list[str]:
        """bubblewrap around the worker."""
        program = shutil.which("bwrap")
        assert program is not None
        worker = worker_arguments(INSIDE_FOLDER, descriptors)
        return [program, *self._arguments, "--", *worker]

    def settings(self, timeout_s: float) -> dict[str, Any]:
        """Limits, uid and seccomp; bubblewrap's own process dies with ours and takes it along."""
        program = seccomp_program(platform.machine())
        return {
            "limits": rlimits(timeout_s, count_processes=True),
            "uid": fresh_uid(),
            "parent": None,
            "landlock": None,
            "seccomp": program.hex() if program else None,
            "library": None,
        }


def mounts() -> list[str]:
    """The worker's whole file system."""
    binds = [(path, path) for path in [*library_folders(), *interpreter_files()]]
    binds.append((WORKER_FOLDER, Path(INSIDE_FOLDER)))
    devices = [Path("/dev/null"), Path("/dev/urandom")]
    arguments = _folders_above([*(target for _, target in binds), *devices])
    for source, target in binds:
        # /lib may be a link to /usr/lib: as a mount of its own it would show what is hidden there.
        linked = source.is_symlink() and source.is_dir()
        kind, shown = ("--symlink", source.readlink()) if linked else ("--ro-bind", source)
        arguments += [kind, str(shown), str(target)]
    for folder in installed_packages():
        arguments += ["--tmpfs", str(folder), "--remount-ro", str(folder)]
    for device in devices:
        arguments += ["--dev-bind", str(device), str(device)]
    # No /tmp: a file system in memory can be bounded in bytes, but not in empty files.
    return [*arguments, "--remount-ro", "/", "--chdir", "/"]


def _folders_above(paths: Sequence[Path]) -> list[str]:
    """Folders on the way to mounts: bubblewrap itself would close them to other uids."""
    above = {parent for path in paths for parent in path.parents} - {Path("/")} - set(paths)
    return [word for folder in sorted(above) for word in ("--perms", "0755", "--dir", str(folder))]
