"""What stands around the adversarial programs and shows whether anything got out.

A file with a secret that any uid may read, a folder and a file that any uid may change, a secret
in the environment, listeners on loopback, a process that would be killed; and before and after, the
list of lasting kernel objects and of our own descendants, wherever they went. Ordinary permissions
protect nothing here but the victim, so what holds the programs back is the sandbox.
"""

from __future__ import annotations

import os
import platform
import secrets
import select
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from proxylm.files import sha256_of
from proxylm.sandbox.adversarial.attack import Attack
from proxylm.sandbox.inside import confinement
from proxylm.sandbox.isolation import STANDARD_LIBRARY, WORKER_FOLDER

CHECKED_LIBRARY_FILE = STANDARD_LIBRARY / "os.py"

# What the programs call by number, which differs by architecture.
SYSTEM_CALLS = {
    "x86_64": {"CLONE": 56, "ADD_KEY": 248, "PERF": 298, "BPF": 321},
    "aarch64": {"CLONE": 220, "ADD_KEY": 217, "PERF": 241, "BPF": 280},
}


@dataclass(frozen=True, kw_only=True)
class Witnesses:
    """Everything that a program could reach, and what it was like before."""

    folder: Path
    listeners: tuple[socket.socket, ...]
    victim: subprocess.Popen[Any]
    facts: dict[str, Any]
    relatives: tuple[int, ...]
    before: dict[str, Any]

    def prepared(self, attack: Attack) -> str | bytes:
        """An attack's program with this machine's facts in it."""
        if isinstance(attack.program, bytes):
            return attack.program
        program = attack.program
        for name, fact in self.facts.items():
            program = program.replace(f"@{name}@", str(fact))
        return program

    def findings(self) -> list[str]:
        """What got out, in words; empty when nothing did."""
        after = observed(self.folder)
        found = [f"{what} changed" for what in self.before if after[what] != self.before[what]]
        new = [each for each in descendants() if each.pid not in self.relatives]
        found += [f"left running: {each}" for each in new]
        if any(select.select(self.listeners, [], [], 0)[0]):
            found.append("a connection or datagram came in")
        if self.victim.poll() is not None:
            found.append("a process of the host was killed")
        return found


@contextmanager
def witnesses() -> Iterator[Witnesses]:
    """Set the witnesses up; all of them are gone afterwards."""
    with ExitStack() as stack:
        confinement.adopt_orphans()
        stack.callback(confinement.adopt_orphans, False)
        folder = Path(tempfile.mkdtemp(prefix="proxylm-witnesses-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _fill_folder(folder)
        secret = secrets.token_hex(8)
        # Asserts must count also where Python is told to leave them out.
        added = {"PROXYLM_WITNESS": secret, "PYTHONOPTIMIZE": "1"}
        stack.enter_context(patch.dict(os.environ, added))
        unix_name = f"proxylm-{secrets.token_hex(8)}"
        listeners = tuple(stack.enter_context(each) for each in _listeners(unix_name))
        victim = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(3600)"])
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        facts = {
            # Every uid may read the secret, change the file, and write into the open folder.
            "SECRET_FILE": folder / "secret",
            "SECRET_FOLDER": folder,
            "OPEN_FOLDER": folder / "open",
            "OPEN_FILE": folder / "file",
            "ENVIRONMENT_SECRET": secret,
            "PACKAGES": sysconfig.get_path("purelib"),
            "PACKAGE": "pydantic",
            "VICTIM": victim.pid,
            "PORT": listeners[0].getsockname()[1],
            "UNIX_NAME": unix_name,
            "IPC_KEY": secrets.randbelow(1 << 30) + 1,
            **SYSTEM_CALLS.get(platform.machine(), SYSTEM_CALLS["x86_64"]),
        }
        yield Witnesses(
            folder=folder,
            listeners=listeners,
            victim=victim,
            facts=facts,
            relatives=tuple(each.pid for each in descendants()),
            before=observed(folder),
        )


def observed(folder: Path) -> dict[str, Any]:
    """What programs may not change: the witnesses' files, ours, and lasting kernel objects."""
    ours = [*sorted(WORKER_FOLDER.glob("*.py")), CHECKED_LIBRARY_FILE]
    return {
        "the witnesses' files": {
            str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.lstat().st_nlink)
            for path in sorted(folder.rglob("*"))
        },
        "the worker or the standard library": [sha256_of(path) for path in ours],
        "System V objects": [_lines(f"/proc/sysvipc/{kind}") for kind in ("shm", "sem", "msg")],
        "shared memory": sorted(path.name for path in Path("/dev/shm").glob("proxylm-*")),
        "the host's name": socket.gethostname(),
    }


def descendants() -> list[psutil.Process]:
    """Every process that descends from this one."""
    return psutil.Process().children(recursive=True)


def _fill_folder(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "open").mkdir()
    (folder / "open").chmod(0o1777)
    (folder / "secret").write_text("secret")
    (folder / "file").write_text("as it was")
    (folder / "secret").chmod(0o644)
    (folder / "file").chmod(0o666)


def _listeners(unix_name: str) -> Iterator[socket.socket]:
    stream = socket.create_server(("127.0.0.1", 0))
    yield stream
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(stream.getsockname())
    yield datagrams
    local = socket.socket(socket.AF_UNIX)
    local.bind(f"\0{unix_name}")
    local.listen()
    yield local


def _lines(path: str) -> list[str]:
    try:
        return [" ".join(line.split()[:2]) for line in Path(path).read_text().splitlines()]
    except OSError:
        return []
