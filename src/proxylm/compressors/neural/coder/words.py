"""The recurrence of ``interval`` in machine words, for kernels; windows only.

``low`` and ``width`` are uint64 on the scale 2^48, frequencies have total 2^16, a code has
``window_bits`` bits. Products ``width · c`` stay below 2^64: a width is at most 2^48, a cumulative
frequency below 2^16. Everything is cast to uint64, because numba makes a float of a uint64 and an
int64.
"""

from __future__ import annotations

import numpy as np

from proxylm.compiled import Uint64
from proxylm.compressors.neural.coder.compiled import inlined
from proxylm.compressors.neural.coder.frequencies import TOTAL_BITS
from proxylm.compressors.neural.coder.interval import WINDOW_SCALE_BITS

WORD = np.uint64
START_WIDTH = WORD(1 << WINDOW_SCALE_BITS)
_ONE = WORD(1)
_TOTAL_BITS = WORD(TOTAL_BITS)
_HALVES = (32, 16, 8, 4, 2, 1)
"""Bits that the search for the highest one skips at a time."""


@inlined
def share(width: Uint64, frequency: Uint64) -> Uint64:
    """``⌊width · frequency / 2^16⌋``."""
    return (WORD(width) * WORD(frequency)) >> _TOTAL_BITS


@inlined
def bit_length(value: Uint64) -> int:
    """As Python's ``int.bit_length``, of a uint64."""
    rest = WORD(value)
    length = 0
    for half in _HALVES:
        if rest >> WORD(half):
            rest >>= WORD(half)
            length += half
    return length + int(rest)


@inlined
def free_bits(low: Uint64, width: Uint64) -> int:
    """Bits below the shortest bit string that lies inside an interval (``shortest_bits``)."""
    # The widest aligned block that may fit; if it does not, the next one does.
    free = WORD(bit_length(width) - 1)
    start = ((WORD(low) + (_ONE << free) - _ONE) >> free) << free
    if start + (_ONE << free) > WORD(low) + WORD(width):
        free -= _ONE
    return int(free)


@inlined
def fits(low: Uint64, width: Uint64, window_bits: int, shortest: bool) -> bool:
    """Whether an interval's string fits in a window (``Termination.bits_needed``)."""
    if width == WORD(0):
        return False
    if shortest:
        return WINDOW_SCALE_BITS - free_bits(low, width) <= window_bits
    return WINDOW_SCALE_BITS - bit_length(WORD(width) - _ONE) <= window_bits


@inlined
def code_of(low: Uint64, width: Uint64, window_bits: int, shortest: bool) -> Uint64:
    """A window's code, padded to ``window_bits`` bits (``Termination.code``)."""
    low, width = WORD(low), WORD(width)
    if shortest:
        free = WORD(free_bits(low, width))
        value = ((low + (_ONE << free) - _ONE) >> free) << free
    else:
        free = WORD(bit_length(low ^ (low + width - _ONE)))
        value = (low >> free) << free
    return value >> WORD(WINDOW_SCALE_BITS - window_bits)
