"""A submission, its verdict, and the error when nothing can run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from proxylm.errors import ProxylmError, UsageError
from proxylm.sandbox.inside.tagged import DEFAULT_RESULT_BYTES

MAX_REASON_CHARACTERS = 300


class SandboxError(ProxylmError):
    """Generated code cannot be run safely on this machine, or a sandbox did not start."""


class Status(StrEnum):
    """How a program fared; only ``PASSED`` counts."""

    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    INVALID = "invalid"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One program to judge.

    Attributes:
        program: the candidate's source, prompt included. Bytes are judged as they are; those that
            are not UTF-8 are ``invalid``.
        test: trusted source. Its asserts run outside the sandbox; a top-level ``check`` in it
            (HumanEval) is called with the candidate's entry point.
        entry_point: the name under which the program defines the function that is tested.
        timeout_s: wall-clock seconds for definition, calls and test together.
        max_result_bytes: what one result may take as tagged data (``inside/tagged.py``). A few
            answers of HumanEval+ and MBPP+ are larger than 1 MiB.

    Raises:
        UsageError: the time limit is not a number of seconds above 0.
    """

    program: str | bytes
    test: str
    entry_point: str
    timeout_s: float
    max_result_bytes: int = DEFAULT_RESULT_BYTES

    def __post_init__(self) -> None:
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise UsageError(f"timeout_s {self.timeout_s}: expected seconds above 0")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome of one submission; ``reason`` is one printable line, empty when it passed."""

    status: Status
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the program passed its whole test."""
        return self.status is Status.PASSED


def out_of_time(timeout_s: float) -> str:
    """The reason for ``TIMED_OUT``, the same whoever notices first."""
    return f"not done within {timeout_s:g} s"


def verdict_of(status: Status, reason: str) -> Verdict:
    """A verdict whose reason, which may quote the candidate, is one short printable line."""
    line = " ".join(reason.split())
    line = "".join(character if character.isprintable() else "\ufffd" for character in line)
    if len(line) > MAX_REASON_CHARACTERS:
        line = line[: MAX_REASON_CHARACTERS - 1] + "…"
    return Verdict(status=status, reason=line)
