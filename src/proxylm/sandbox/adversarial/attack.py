"""One adversarial program, and the test that it must not pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent

ENTRY_POINT = "answer"
SECRET = "49-is-the-answer"
TEST = f"""\
secret = {SECRET!r}
assert answer(7) == 49
assert answer("secret") == secret
"""
ESCAPE_TEST = "assert answer(7) == 49\n"
TIMEOUT_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A program and its test.

    Attributes:
        name: what it tries, in few words.
        program: its source; ``@NAME@`` stands for what a witness knows (``witnesses``).
        test: what it would have to pass.
        escape: whether success at its attempt makes it return what the test wants.
    """

    name: str
    program: str | bytes
    test: str = TEST
    escape: bool = False


def forgery(name: str, program: str | bytes, test: str = TEST) -> Attack:
    """A program without the right answer that wants the verdict all the same."""
    return Attack(name=name, program=_source(program), test=test)


def escape(name: str, attempt: str) -> Attack:
    """A program that gives the right answer if ``attempt``, some statements, succeeds.

    ``attempt`` raises an exception, or sets ``escaped = False``, where it fails.
    """
    body = "".join(f"        {line}\n" for line in dedent(attempt).strip("\n").splitlines())
    program = (
        "def answer(x):\n    escaped = True\n    try:\n"
        f"{body}"
        "    except BaseException:\n        escaped = False\n"
        "    return x * x if escaped else None\n"
    )
    return Attack(name=name, program=program, test=ESCAPE_TEST, escape=True)


def _source(program: str | bytes) -> str | bytes:
    return dedent(program).lstrip("\n") if isinstance(program, str) else program


Attacks = tuple[Attack, ...]
Fill = Callable[[str], str]
