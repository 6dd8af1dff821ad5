"""How far work is: the one form in which every room tells it, whoever shows it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")

TellCount = Callable[[str, int, int | None], None]
"""Called with what is counted, how many are done, and of how many; None where nobody knows.

What is not counted but over is none of none.
"""


def untold(name: str, done: int, total: int | None) -> None:
    """Nobody listens."""


def told(items: Sequence[Item], name: str, progress: TellCount) -> Iterator[Item]:
    """The items in order; ``progress`` hears how many of them are done.

    >>> list(told("ab", "letters", lambda *counts: print(*counts)))
    letters 0 2
    letters 1 2
    letters 2 2
    ['a', 'b']
    """
    for done, item in enumerate(items):
        progress(name, done, len(items))
        yield item
    progress(name, len(items), len(items))


@contextmanager
def stage(name: str, progress: TellCount) -> Iterator[None]:
    """Within, something is under way of which nobody knows how far it is."""
    progress(name, 0, None)
    yield
    progress(name, 0, 0)


def stderr_draws_bars() -> bool:
    """Whether stderr is a terminal that can draw over what it shows."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
