"""The tier for machines without namespaces: uid, resource limits, Landlock and seccomp.

Landlock lets the worker read Python's standard library and the shared libraries, and nothing
else: no file of the host can be read or written, not even a temporary one (a limit on all files
together would take a file system of its own). seccomp leaves no processes, sockets or signals.
Python's folder may lie where the fresh uid cannot walk (a home directory): the worker then imports
through a descriptor that was opened before.

The rule set is made once per process that starts workers; each worker inherits its descriptor.
Structures and rights: ``linux/landlock.h``.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from proxylm.sandbox.isolation import (
    STANDARD_LIBRARY,
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
from proxylm.sandbox.verdict import SandboxError

CREATE_RULESET = 444
ADD_RULE = 445
VERSION_QUERY = 1
PATH_BENEATH = 1

READ_FILE = 1 << 2
WRITE_FILE = 1 << 1
READ_FOLDER = 1 << 3
# Rights that each version of Landlock knows, and how many bytes of the attributes it reads.
FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
NET_RIGHTS_FROM, NET_RIGHTS = 4, 0b11
SCOPES_FROM, SCOPES = 6, 0b11

_libc = ctypes.CDLL(None, use_errno=True)


class LandlockSeccomp(Isolation):
    """No namespaces: what the worker could reach is closed call by call and path by path."""

    name = "landlock"
    needs = "a Linux kernel from 5.13 with Landlock and seccomp, on x86_64 or aarch64"

    def __init__(self) -> None:
        self._ruleset: int | None = None
        self._library: int | None = None

    def lacking(self) -> str | None:
        """The kernel's or the processor's shortcoming."""
        if landlock_version() < 1:
            return "the kernel has no Landlock, or it is switched off"
        if seccomp_program(platform.machine()) is None:
            return "seccomp numbers are known for x86_64 and aarch64 only"
        return None

    def prepare(self) -> None:
        """Make the rule set, and open the standard library where its parents may be closed."""
        self._ruleset = make_ruleset(allowed_paths())
        os.set_inheritable(self._ruleset, True)
        if may_change_uid():
            self._library = os.open(STANDARD_LIBRARY, os.O_PATH | os.O_DIRECTORY)

    def command(self, descriptors: Sequence[int]) -> list[str]:
        """The worker, straight: it confines itself before it reads a program."""
        return worker_arguments(str(WORKER_FOLDER), descriptors)

    def settings(self, timeout_s: float) -> dict[str, Any]:
        """Everything is left to the worker."""
        program = seccomp_program(platform.machine())
        assert program is not None
        uid = fresh_uid()
        return {
            "limits": rlimits(timeout_s, count_processes=uid is not None),
            "uid": uid,
            "parent": os.getpid(),
            "landlock": self._ruleset,
            "seccomp": program.hex(),
            "library": self._library,
        }

    def shared_descriptors(self) -> list[int]:
        """The rule set, and the standard library's folder."""
        return [each for each in (self._ruleset, self._library) if each is not None]


def landlock_version() -> int:
    """The kernel's Landlock version; below 1: none."""
    return _libc.syscall(CREATE_RULESET, None, 0, VERSION_QUERY)


def allowed_paths() -> dict[Path, int]:
    """Rights by path: libraries without installed packages, the interpreter, null.

    A folder that is open in part may be listed as a whole (importing needs that); names are all
    that shows of what is hidden in it.
    """
    hidden = installed_packages()
    rights = dict.fromkeys([*interpreter_files(), Path("/dev/urandom")], READ_FILE)
    for folder in library_folders():
        rights[folder] = READ_FOLDER
        rights |= dict.fromkeys(parts_without(folder, hidden), READ_FILE | READ_FOLDER)
    return rights | {Path("/dev/null"): READ_FILE | WRITE_FILE}


def parts_without(folder: Path, hidden: Sequence[Path]) -> list[Path]:
    """``folder`` as the fewest paths that together leave the hidden ones out."""
    folder = folder.resolve()
    if folder in hidden:
        return []
    if not any(path.is_relative_to(folder) for path in hidden):
        return [folder]
    return [
        part
        for entry in sorted(folder.iterdir())
        for part in ([entry] if not entry.is_dir() else parts_without(entry, hidden))
    ]


def make_ruleset(allowed: Mapping[Path, int]) -> int:
    """A descriptor of a Landlock rule set with these rights by path, and no others.

    Raises:
        SandboxError: the kernel does not take it.
    """
    version = landlock_version()
    rights = FILE_RIGHTS[max(known for known in FILE_RIGHTS if known <= version)]
    attributes = [rights]
    if version >= NET_RIGHTS_FROM:
        attributes.append(NET_RIGHTS)
    if version >= SCOPES_FROM:
        attributes.append(SCOPES)
    packed = struct.pack(f"={len(attributes)}Q", *attributes)
    ruleset = _libc.syscall(CREATE_RULESET, packed, ctypes.c_size_t(len(packed)), 0)
    if ruleset < 0:
        raise SandboxError(f"Landlock: no rule set ({os.strerror(ctypes.get_errno())})")
    for path, path_rights in allowed.items():
        _allow(ruleset, path, path_rights)
    return ruleset


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH)
    except OSError:
        return  # a dangling link, or not for us: then not for the worker either
    try:
        if not path.is_dir():
            rights &= ~READ_FOLDER
        rule = struct.pack("=Qi", rights, descriptor)
        if _libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, rule, 0) != 0:
            raise SandboxError(f"Landlock: no rule for {path} ({os.strerror(ctypes.get_errno())})")
    finally:
        os.close(descriptor)
