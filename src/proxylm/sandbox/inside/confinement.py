"""The worker's last privileged act: it gives up everything that the settings name, for good.

Order matters: resource limits while they may still be raised, then the uid and all capabilities,
then Landlock and seccomp, which need no privilege once ``no_new_privs`` is set. The trusted
side builds the Landlock rules and the seccomp program; here they are only switched on. The source
of the numbers: Linux's ``prctl.h``, ``seccomp.h``, ``capability.h``.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Mapping
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2
LANDLOCK_RESTRICT_SELF = 446  # one number on every architecture
CAPABILITY_VERSION = 0x20080522
LAST_CAPABILITY = 63
SIGKILL = 9

_libc = ctypes.CDLL(None, use_errno=True)


class SeccompProgram(ctypes.Structure):
    """``struct sock_fprog``: a filter's length in instructions, and where it lies."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def confine(settings: Mapping[str, Any]) -> None:
    """Give up what ``settings`` name.

    Args:
        settings: ``limits`` (name of a ``RLIMIT_``, value), ``uid`` (or None: stay who we are),
            ``parent`` (process to die with, or None), ``landlock`` (descriptor of a rule set, or
            None), ``seccomp`` (program as hexadecimal, or None), ``library`` (descriptor of the
            standard library's folder, for a uid that cannot walk there; or None).

    Raises:
        OSError: a step did not succeed; nothing may be run then.
    """
    for name, value in settings["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    _empty_bounding_set()
    if settings["uid"] is not None:
        _become(settings["uid"])
    _drop_capabilities()
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    if settings["parent"] is not None:
        die_with(settings["parent"])
    if settings["library"] is not None:
        _reach_library_through(settings["library"])
    if settings["landlock"] is not None:
        _checked(_libc.syscall(LANDLOCK_RESTRICT_SELF, settings["landlock"], 0), "Landlock")
        os.close(settings["landlock"])
    if settings["seccomp"] is not None:
        instructions = bytes.fromhex(settings["seccomp"])
        program = SeccompProgram(len(instructions) // 8, instructions)
        _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program))


def die_with(parent: int) -> None:
    """Be killed when the parent process ends, however it ends."""
    _prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it ended before we asked


def adopt_orphans(adopt: bool = True) -> None:
    """Become the parent of descendants whose parent ends, so that none is lost sight of."""
    _prctl(PR_SET_CHILD_SUBREAPER, int(adopt))


def _empty_bounding_set() -> None:
    for capability in range(LAST_CAPABILITY + 1):
        # Fails past the kernel's last one, or for those who have nothing to give up.
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def _become(uid: int) -> None:
    """Take a uid and gid that nobody has."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (uid,) * 3 or os.getgroups():
        raise OSError("the uid could not be changed")


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    _checked(_libc.capset(header, none), "dropping capabilities")


def _reach_library_through(descriptor: int) -> None:
    """Import from the standard library through an open folder, past parents closed to us."""
    _prctl(PR_SET_DUMPABLE, 1)  # or our own /proc/self/fd would be closed to us, too
    old, new = os.path.dirname(os.__file__), f"/proc/self/fd/{descriptor}"  # noqa: PTH120
    sys.path[:] = [path.replace(old, new) for path in sys.path]
    for module in list(sys.modules.values()):
        if hasattr(module, "__path__"):
            module.__path__ = [path.replace(old, new) for path in module.__path__]
    sys.path_importer_cache.clear()


def _prctl(option: int, *arguments: Any) -> None:
    values = (*arguments, 0, 0, 0, 0)[:4]
    words = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in values]
    _checked(_libc.prctl(option, *words), f"prctl {option}")


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
