"""What a prompt gives up at its end is written again, and is no part of the answer.

``AfterPrompt`` passes over it; ``Healing`` has the symbols that may spell it (token healing), and
``Given`` the one that was chosen to.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Int16

from proxylm.generation.structured_output.contract import Allowed, StructuredOutputState


class AfterPrompt:
    """Spells what follows a prompt, of what follows the part of it that was read.

    The prompt's end is passed over once it is written, and a beginning of it is held back; where
    the model writes something else, all of that follows the prompt.

    >>> texts = {0: b" ", 1: b"\\n  x", 2: b"y"}
    >>> spell = AfterPrompt(texts.__getitem__, b" \\n")
    >>> spell(0), spell(1), spell(2)
    (b'', b'  x', b'y')

    Args:
        spell: says which bytes each symbol adds.
        end: of the prompt, what was not read.
    """

    def __init__(self, spell: Callable[[int], bytes], end: bytes) -> None:
        self._spell = spell
        self._end = end
        self._held = b""

    def __call__(self, symbol: int) -> bytes:
        """The bytes after the prompt that are certain with this further symbol."""
        written = self._held + self._spell(symbol)
        if self._end.startswith(written) and written != self._end:
            self._held = written
            return b""
        rest = written.removeprefix(self._end)
        self._held = self._end = b""
        return rest


class Spellings:
    """The symbols of a compressor by the bytes that they spell.

    Args:
        spellings: of each symbol; none where it spells nothing.

    Attributes:
        order: the symbols in the order of their bytes.
    """

    def __init__(self, spellings: Sequence[bytes]) -> None:
        self._of_symbol = spellings
        self.order = sorted(range(len(spellings)), key=spellings.__getitem__)
        self._sorted = [spellings[symbol] for symbol in self.order]
        self._bytes_at: dict[int, Int16[np.ndarray, " symbol"]] = {}

    def spell(self, symbols: Sequence[int]) -> bytes:
        """The bytes of symbols."""
        return b"".join(self._of_symbol[symbol] for symbol in symbols)

    @cached_property
    def anything(self) -> Allowed:
        """Every symbol, and the end."""
        return Allowed(np.ones(len(self.order), dtype=bool), may_end=True)

    def only(self, symbols: Sequence[int]) -> Allowed:
        """These symbols, and no end."""
        values = np.zeros(len(self.order), dtype=bool)
        values[symbols] = True
        return Allowed(values, may_end=False)

    def range_of(self, text: bytes) -> slice:
        """The places in ``order`` of the symbols whose bytes begin with ``text``."""
        first = bisect_left(self._sorted, text)
        last = bisect_left(self._sorted, True, first, key=lambda one: not one.startswith(text))
        return slice(first, last)

    def beginning_with(self, text: bytes) -> list[int]:
        """The symbols whose bytes begin with ``text``."""
        return self.order[self.range_of(text)]

    def byte_at(self, place: int) -> Int16[np.ndarray, " symbol"]:
        """The byte at a place of each symbol, in ``order``; -1 where it has none."""
        if place not in self._bytes_at:
            found = [one[place] if place < len(one) else -1 for one in self._sorted]
            self._bytes_at[place] = np.array(found, dtype=np.int16)
        return self._bytes_at[place]

    def equal_to(self, text: bytes) -> list[int]:
        """The symbols whose bytes are ``text``."""
        first = bisect_left(self._sorted, text)
        last = bisect_left(self._sorted, True, first, key=lambda one: one != text)
        return self.order[first:last]


class Given(StructuredOutputState):
    """One symbol, then any.

    Args:
        spellings: the compressor's.
        symbol: the first.
    """

    def __init__(self, spellings: Spellings, symbol: int) -> None:
        self._spellings = spellings
        self._symbol: int | None = symbol

    def allowed(self, bytes_left: int) -> Allowed:
        """See the base class."""
        if self._symbol is None:
            return self._spellings.anything
        return self._spellings.only([self._symbol])

    def advance(self, value: int) -> None:
        """See the base class."""
        self._symbol = None


class Healing(StructuredOutputState):
    """Symbols whose bytes begin with a text, as long as it is not spelled; then any.

    A symbol that spells a beginning of it alone may come where others can spell the rest.

    Args:
        spellings: the compressor's.
        text: what is to be spelled first.
    """

    def __init__(self, spellings: Spellings, text: bytes) -> None:
        self._spellings = spellings
        self._text = text
        self._done = 0
        self._following = _following(spellings, text)

    def allowed(self, bytes_left: int) -> Allowed:
        """See the base class."""
        if self._done >= len(self._text):
            return self._spellings.anything
        return self._spellings.only(self._following[self._done])

    def advance(self, value: int) -> None:
        """See the base class."""
        self._done += len(self._spellings.spell([value]))


def _following(spellings: Spellings, text: bytes) -> list[list[int]]:
    """By how much of the text is spelled, the symbols by which all of it can be; from the end."""
    following: list[list[int]] = [[] for _ in text]
    for done in reversed(range(len(text))):
        following[done] = spellings.beginning_with(text[done:])
        for next_done in range(done + 1, len(text)):
            if following[next_done]:
                following[done] += spellings.equal_to(text[done:next_done])
    return following
