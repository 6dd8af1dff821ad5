"""The seccomp program of a confined worker: a list of what it may ask of the kernel.

Everything not listed is refused with EPERM, so that a program sees an ordinary error: processes,
signals to others, sockets, mounts, namespaces, tracing, keys, System V objects, changed
permissions, io_uring and whatever later kernels add. Four calls are allowed for some arguments:
``clone`` to start a thread, ``prlimit64`` on the process itself, ``fcntl`` but for what makes the
kernel signal others, ``ioctl`` for what opening a file takes. ``clone3`` and ``openat2``, whose
arguments a filter cannot see, count as unknown (ENOSYS): the C library then falls back.

Classic BPF over ``struct seccomp_data`` (number at 0, architecture at 4, arguments from 16):
``linux/seccomp.h``, ``linux/bpf_common.h``, ``linux/audit.h``; numbers from ``asm/unistd_64.h`` and
``asm-generic/unistd.h``.
"""

from __future__ import annotations

import errno
import struct
from functools import cache

LOAD_WORD = 0x20
AND = 0x54
JUMP_IF_EQUAL = 0x15
JUMP_IF_AT_LEAST = 0x35
RETURN = 0x06

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
REFUSE = 0x00050000

OFFSET_NUMBER = 0
OFFSET_ARCHITECTURE = 4
OFFSET_ARGUMENTS = 16
ARGUMENT_BYTES = 8

FIRST_X32_NUMBER = 0x40000000
CLONE_THREAD = 0x00010000
NEW_NAMESPACES = 0x7E020080  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET,TIME}

# name: number on x86_64, number on aarch64 (None: not there)
_ALLOWED: dict[str, tuple[int | None, int | None]] = {
    # files and descriptors
    "read": (0, 63), "write": (1, 64), "open": (2, None), "close": (3, 57), "stat": (4, None),
    "fstat": (5, 80), "lstat": (6, None), "poll": (7, None), "lseek": (8, 62),
    "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66),
    "access": (21, None), "pipe": (22, None), "select": (23, None), "dup": (32, 23),
    "dup2": (33, None), "sendfile": (40, 71), "flock": (73, 32),
    "fsync": (74, 82), "fdatasync": (75, 83), "ftruncate": (77, 46),
    "getdents": (78, None), "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50),
    "rename": (82, None), "mkdir": (83, None), "rmdir": (84, None), "unlink": (87, None),
    "readlink": (89, None), "umask": (95, 166), "getdents64": (217, 61), "fadvise64": (221, 223),
    "openat": (257, 56), "mkdirat": (258, 34), "newfstatat": (262, 79), "unlinkat": (263, 35),
    "renameat": (264, 38), "readlinkat": (267, 78), "faccessat": (269, 48), "pselect6": (270, 72),
    "ppoll": (271, 73), "eventfd2": (290, 19), "epoll_wait": (232, None), "epoll_ctl": (233, 21),
    "epoll_pwait": (281, 22), "epoll_create1": (291, 20), "dup3": (292, 24), "pipe2": (293, 59),
    "renameat2": (316, 276), "statx": (332, 291), "close_range": (436, 436),
    "faccessat2": (439, 439),
    # memory
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214),
    "mremap": (25, 216), "mincore": (27, 232), "madvise": (28, 233),
    # signals to itself, threads, waiting
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124), "pause": (34, None), "nanosleep": (35, 101), "getitimer": (36, 102),
    "alarm": (37, None), "setitimer": (38, 103), "exit": (60, 93), "futex": (202, 98),
    "sched_getaffinity": (204, 123), "set_tid_address": (218, 96), "restart_syscall": (219, 128),
    "clock_nanosleep": (230, 115), "exit_group": (231, 94), "set_robust_list": (273, 99),
    "get_robust_list": (274, 100), "membarrier": (324, 283), "rseq": (334, 293),
    "sigaltstack": (131, 132),
    # about itself and the machine
    "getpid": (39, 172), "uname": (63, 160), "gettimeofday": (96, 169), "getrlimit": (97, 163),
    "getrusage": (98, 165), "sysinfo": (99, 179), "times": (100, 153), "getuid": (102, 174),
    "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177), "getppid": (110, 173),
    "getpgrp": (111, None), "getgroups": (115, 158), "getresuid": (118, 148),
    "getresgid": (120, 150), "getpgid": (121, 155), "getsid": (124, 156), "gettid": (186, 178),
    "time": (201, None), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "getcpu": (309, 168), "getrandom": (318, 278),
    "setrlimit": (160, 164),
}  # fmt: skip
_UNKNOWN: tuple[tuple[int, int], ...] = ((435, 435), (437, 437))  # clone3, openat2


_WORD = 0xFFFFFFFF
# name: numbers, which argument, the part of it that is looked at, its allowed values
_CHECKED = {
    "clone": ((56, 220), 0, CLONE_THREAD | NEW_NAMESPACES, (CLONE_THREAD,)),
    "prlimit64": ((302, 261), 0, _WORD, (0,)),
    "fcntl": ((72, 25), 1, _WORD, (0, 1, 2, 3, 4, 5, 6, 7, 1030)),
    # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
    "ioctl": ((16, 29), 1, _WORD, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
}

AUDIT_NUMBERS = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Each processor family's ``AUDIT_ARCH_`` value, in the order of the table's columns."""


@cache
def seccomp_program(machine: str) -> bytes | None:
    """The filter as an array of ``struct sock_filter``, eight bytes each.

    ``machine`` is as in ``platform.machine()``; None: its system call numbers are not known here.
    """
    if machine not in AUDIT_NUMBERS:
        return None
    column = list(AUDIT_NUMBERS).index(machine)
    allowed = [numbers[column] for numbers in _ALLOWED.values() if numbers[column] is not None]
    program = [
        _instruction(LOAD_WORD, OFFSET_ARCHITECTURE),
        _instruction(JUMP_IF_EQUAL, AUDIT_NUMBERS[machine], if_true=1),
        _instruction(RETURN, KILL_PROCESS),
        _instruction(LOAD_WORD, OFFSET_NUMBER),
        _instruction(JUMP_IF_AT_LEAST, FIRST_X32_NUMBER, if_false=1),
        _instruction(RETURN, REFUSE | errno.EPERM),
    ]
    for number in allowed:
        assert number is not None
        program += _answer(number, ALLOW)
    for numbers in _UNKNOWN:
        program += _answer(numbers[column], REFUSE | errno.ENOSYS)
    for numbers, argument, mask, values in _CHECKED.values():
        program += _check(numbers[column], argument, mask, values)
    program.append(_instruction(RETURN, REFUSE | errno.EPERM))
    return b"".join(program)


def _check(number: int, argument: int, mask: int, values: tuple[int, ...]) -> list[bytes]:
    decision = [
        _instruction(LOAD_WORD, OFFSET_ARGUMENTS + ARGUMENT_BYTES * argument),
        _instruction(AND, mask),
    ]
    for value in values:
        decision += _answer(value, ALLOW)
    decision.append(_instruction(RETURN, REFUSE | errno.EPERM))
    return [_instruction(JUMP_IF_EQUAL, number, if_false=len(decision)), *decision]


def _answer(number: int, action: int) -> list[bytes]:
    return [_instruction(JUMP_IF_EQUAL, number, if_false=1), _instruction(RETURN, action)]


def _instruction(code: int, operand: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)
