"""The seccomp program, run by a plain interpreter of its few instructions."""

from __future__ import annotations

import errno
import struct

import pytest

from proxylm.sandbox import seccomp
from proxylm.sandbox.seccomp import ALLOW, AUDIT_NUMBERS, KILL_PROCESS, REFUSE

EPERM, ENOSYS = REFUSE | errno.EPERM, REFUSE | errno.ENOSYS
X86 = AUDIT_NUMBERS["x86_64"]


def decide(program: bytes, audit: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel would do with a call: ``struct seccomp_data`` through the instructions."""
    data = struct.pack("=IIQ6Q", number, audit, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator, position = 0, 0
    while True:
        code, if_true, if_false, operand = instructions[position]
        position += 1
        if code == seccomp.LOAD_WORD:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        elif code == seccomp.AND:
            accumulator &= operand
        elif code == seccomp.JUMP_IF_EQUAL:
            position += if_true if accumulator == operand else if_false
        elif code == seccomp.JUMP_IF_AT_LEAST:
            position += if_true if accumulator >= operand else if_false
        else:
            assert code == seccomp.RETURN
            return operand


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_listed_calls_are_allowed_and_all_others_refused(machine, column):
    program = seccomp.seccomp_program(machine)
    listed = {numbers[column] for numbers in seccomp._ALLOWED.values()} - {None}
    checked = {numbers[column] for numbers, *_ in seccomp._CHECKED.values()}
    unknown = {numbers[column] for numbers in seccomp._UNKNOWN}
    assert len(listed) > 80
    for number in set(range(600)) - checked:
        expected = ALLOW if number in listed else ENOSYS if number in unknown else EPERM
        assert decide(program, AUDIT_NUMBERS[machine], number) == expected, number
    assert len(program) % 8 == 0
    assert len(program) // 8 <= 4096, "the kernel's limit on instructions"


@pytest.mark.parametrize(
    "number",
    [41, 42, 56, 57, 58, 59, 62, 101, 155, 165, 161, 200, 234, 272, 310, 319, 321, 322, 425, 435],
)
def test_sockets_processes_signals_and_the_like_are_not_allowed(number):
    # socket connect clone fork vfork execve kill ptrace pivot_root mount chroot tkill tgkill
    # unshare process_vm_readv memfd_create bpf execveat io_uring_setup clone3
    assert decide(seccomp.seccomp_program("x86_64"), X86, number) != ALLOW


def test_foreign_architectures_are_killed_and_x32_is_refused():
    program = seccomp.seccomp_program("x86_64")
    assert decide(program, 0x40000003, 0) == KILL_PROCESS  # i386: other numbers
    assert decide(program, X86, seccomp.FIRST_X32_NUMBER) == EPERM


def test_a_processor_that_is_not_known_has_no_program():
    assert seccomp.seccomp_program("riscv64") is None


def test_clone_starts_threads_only():
    program = seccomp.seccomp_program("x86_64")
    thread_of_glibc = 0x3D0F00
    assert decide(program, X86, 56, (thread_of_glibc,)) == ALLOW
    assert decide(program, X86, 56, (17,)) == EPERM  # a fork: SIGCHLD
    for namespace in (0x20000, 0x10000000, 0x20000000, 0x40000000, 0x80):
        assert decide(program, X86, 56, (thread_of_glibc | namespace,)) == EPERM


def test_limits_of_itself_only_and_no_signals_through_descriptors():
    program = seccomp.seccomp_program("x86_64")
    assert decide(program, X86, 302, (0, 7)) == ALLOW
    assert decide(program, X86, 302, (1234, 7)) == EPERM
    tcgets, fs_ioc_setflags, tiocsti = 0x5401, 0x40086602, 0x5412
    assert decide(program, X86, 16, (0, tcgets)) == ALLOW
    for request in (fs_ioc_setflags, tiocsti):
        assert decide(program, X86, 16, (0, request)) == EPERM
    f_getfd, f_setown, f_setsig, f_setown_ex, f_dupfd_cloexec = 1, 8, 10, 15, 1030
    for command in (f_getfd, f_dupfd_cloexec):
        assert decide(program, X86, 72, (3, command)) == ALLOW
    for command in (f_setown, f_setsig, f_setown_ex):
        assert decide(program, X86, 72, (3, command)) == EPERM
