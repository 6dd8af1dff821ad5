"""The adversarial programs, read from ``programs/``, and the tests that they must not pass.

Each begins there with a line ``==== GROUP: NAME``; the name says what it tries. Its source follows:
in ``escapes.txt`` the statements of an attempt, which raise an exception or set ``escaped = False``
where they fail (the program gives the right answer if they succeed), elsewhere a whole program
without the right answer. ``---- test`` begins what it would have to pass, where that is not the
usual; ``---- prompt`` comes before ``---- program`` where the prompt's helpers belong to the test.
``@NAME@`` in a source stands for what a witness knows (``witnesses``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

from proxylm.sandbox.source_names import with_helpers

FOLDER = Path(__file__).parent / "programs"

ENTRY_POINT = "answer"
TIMEOUT_S = 1.0
TEST = """\
secret = '49-is-the-answer'
assert answer(7) == 49
assert answer("secret") == secret
"""
ESCAPE_TEST = "assert answer(7) == 49\n"
ESCAPE = """\
def answer(x):
    escaped = True
    try:
{attempt}    except BaseException:
        escaped = False
    return x * x if escaped else None
"""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A program, and the test that it would have to pass; its name says what it tries."""

    group: str
    name: str
    program: str | bytes
    test: str = TEST


def escape_program(attempt: str) -> str:
    """A program that gives the right answer if ``attempt``, some statements, succeeds."""
    return ESCAPE.format(attempt=indent(attempt, " " * 8))


def _attacks() -> Iterator[Attack]:
    for group, name, parts in (*_entries("forgeries.txt"), *_entries("exhaustion.txt")):
        prompt = parts.get("prompt", "")
        test = with_helpers(prompt, parts.get("test", TEST), ENTRY_POINT)
        yield Attack(group=group, name=name, program=prompt + parts["program"], test=test)
    for group, name, parts in _entries("escapes.txt"):
        program = escape_program(parts["program"])
        yield Attack(group=group, name=name, program=program, test=ESCAPE_TEST)
    # What a text file cannot hold, or not at this length.
    unwritable: dict[str, str | bytes] = {
        "NUL in the source": "def answer(x):\n    return '\0'\n",
        "lone surrogate in the source": "def answer(x):\n    return '\udc80'\n",
        "invalid UTF-8 in the source": b"def answer(x):\n    return 49 # \xff\xfe\n",
        "recursion in the parser": f"answer = {'(' * 100_000}lambda x: 49{')' * 100_000}\n",
    }
    for name, source in unwritable.items():
        yield Attack(group="sources", name=name, program=source)


def _entries(file: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Group, name, and the parts of the text by what begins them; first comes the program."""
    text = (FOLDER / file).read_text(encoding="utf-8")
    for entry in re.split(r"^==== ", text, flags=re.MULTILINE)[1:]:
        header, _, rest = entry.partition("\n")
        group, _, name = header.partition(": ")
        first, *others = re.split(r"^---- (\w+)\n", rest, flags=re.MULTILINE)
        yield group, name, {"program": first, **dict(zip(others[::2], others[1::2], strict=True))}


ATTACKS = tuple(_attacks())
