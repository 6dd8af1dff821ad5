"""The adversarial programs, read from ``programs/``, and the tests that they must not pass.

Each entry of those files has a ``name``, what it tries in few words, and one of

- ``program``: its source, without the right answer; after ``prompt``, where there is one, whose
  helpers then belong to its test;
- ``attempt``: statements of an escape, which raise an exception or set ``escaped = False`` where
  they fail. The program gives the right answer if they succeed;
- ``libc_call``: such an attempt as one call of the C library, which fails by a number below zero.

``test`` is what it would have to pass, where that is not the usual. ``@NAME@`` in a source stands
for what a witness knows (``witnesses``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

from proxylm.sandbox.source_names import with_helpers

FOLDER = Path(__file__).parent / "programs"
FILES = ("forgeries.toml", "exhaustion.toml", "escapes.toml")

ENTRY_POINT = "answer"
TIMEOUT_S = 1.0
TEST = """\
secret = '49-is-the-answer'
assert answer(7) == 49
assert answer("secret") == secret
"""
ESCAPE_TEST = "assert answer(7) == 49\n"

_ESCAPE = """\
def answer(x):
    escaped = True
    try:
{attempt}
    except BaseException:
        escaped = False
    return x * x if escaped else None
"""
_LIBC_CALL = """\
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
escaped = {call} >= 0
"""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A program and its test.

    Attributes:
        name: what it tries, in few words.
        group: which kind of attack it is: the table that holds it in its file.
        program: its source.
        test: what it would have to pass.
    """

    name: str
    group: str
    program: str | bytes
    test: str = TEST


def escape_program(attempt: str) -> str:
    """A program that gives the right answer if ``attempt``, some statements, succeeds."""
    return _ESCAPE.format(attempt=indent(attempt.rstrip("\n"), " " * 8))


def _attack(group: str, entry: dict[str, str]) -> Attack:
    named = {"name": entry["name"], "group": group}
    if "libc_call" in entry:
        entry = {"attempt": _LIBC_CALL.format(call=entry["libc_call"])}
    if "attempt" in entry:
        return Attack(**named, program=escape_program(entry["attempt"]), test=ESCAPE_TEST)
    prompt, test = entry.get("prompt", ""), entry.get("test", TEST)
    return Attack(
        **named, program=prompt + entry["program"], test=with_helpers(prompt, test, ENTRY_POINT)
    )


def _attacks() -> Iterator[Attack]:
    for name in FILES:
        groups = tomllib.loads((FOLDER / name).read_text(encoding="utf-8"))
        for group, entries in groups.items():
            yield from (_attack(group, entry) for entry in entries)
    # What a text file cannot hold, or not at this length.
    yield from (
        Attack(name=name, group="sources", program=program)
        for name, program in {
            "NUL in the source": "def answer(x):\n    return '\0'\n",
            "lone surrogate in the source": "def answer(x):\n    return '\udc80'\n",
            "invalid UTF-8 in the source": b"def answer(x):\n    return 49 # \xff\xfe\n",
            "recursion in the parser": f"answer = {'(' * 100_000}lambda x: 49{')' * 100_000}\n",
        }.items()
    )


ATTACKS = tuple(_attacks())
