"""Strict UTF-8 (Unicode 15, table 3-7): no overlong forms, no surrogates, nothing above U+10FFFF.

Every prefix of the output is the beginning of a valid text, and where the output ends, at the
model's end symbol or at the limit, it is valid: a character that would not fit before the limit
is not begun. A prompt that breaks off inside a character is finished first.
"""

from __future__ import annotations

import codecs
from typing import NamedTuple

import numpy as np

from proxylm.generation.structured_output.contract import Allowed, StructuredOutputState
from proxylm.symbols import BYTE_COUNT


class _Lead(NamedTuple):
    """Bytes ``first`` ... ``last`` begin a character; its second byte is ``low`` ... ``high``."""

    first: int
    last: int
    continuations: int
    low: int = 0x80
    high: int = 0xBF


_LEADS = (
    _Lead(0x00, 0x7F, 0),
    _Lead(0xC2, 0xDF, 1),
    _Lead(0xE0, 0xE0, 2, low=0xA0),
    _Lead(0xE1, 0xEC, 2),
    _Lead(0xED, 0xED, 2, high=0x9F),
    _Lead(0xEE, 0xEF, 2),
    _Lead(0xF0, 0xF0, 3, low=0x90),
    _Lead(0xF1, 0xF3, 3),
    _Lead(0xF4, 0xF4, 3, high=0x8F),
)


class Utf8State(StructuredOutputState):
    """Where a text that goes on from ``before`` stands inside a character.

    That is how many bytes the character lacks, and which may come next.
    """

    def __init__(self, before: bytes = b"") -> None:
        self._missing = 0
        self._next = range(0)
        for value in _open_character(before):
            self.advance(value)

    def allowed(self, bytes_left: int) -> Allowed:
        """See the base class."""
        values = np.zeros(BYTE_COUNT, dtype=bool)
        if self._missing:
            values[self._next] = self._missing <= bytes_left
        else:
            for lead in _LEADS:
                values[lead.first : lead.last + 1] = lead.continuations < bytes_left
        return Allowed(values, may_end=not self._missing)

    def advance(self, value: int) -> None:
        """See the base class."""
        if self._missing:
            self._missing, self._next = self._missing - 1, range(0x80, 0xC0)
            return
        lead = next(lead for lead in _LEADS if lead.first <= value <= lead.last)
        self._missing, self._next = lead.continuations, range(lead.low, lead.high + 1)


def _open_character(before: bytes) -> bytes:
    """The bytes of a character that begins at the end of ``before`` and is not complete."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    decoder.decode(before[-3:])
    return decoder.getstate()[0]
