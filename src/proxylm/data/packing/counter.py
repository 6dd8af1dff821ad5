"""Counter-based randomness: every draw is a hash of (seed, purpose, identity), nothing is carried.

A draw starts from ``purpose_key(seed, purpose, source)`` and absorbs the words that identify the
decision (epoch, document ordinal, piece). Its value depends on nothing else, so any step, rank
or worker gets the same one, in any order. One decision is one draw. The hash is the finalizer of
SplitMix64 (Steele, Lea and Flood 2014), applied once for each word.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from proxylm.compiled import Int64, Uint64
from proxylm.data.packing.compiled import compiled, inlined

WORD = np.uint64
_GOLDEN = WORD(0x9E3779B97F4A7C15)
_FIRST = WORD(0xBF58476D1CE4E5B9)
_SECOND = WORD(0x94D049BB133111EB)
_SHIFTS = (WORD(30), WORD(27), WORD(31), WORD(11))
_ONE = WORD(1)
_ROUND_SHIFT = WORD(48)
_UNIT = 2.0**-53

FEISTEL_ROUNDS = 4
MINIMUM_BITS = 10
"""Width of the network for few elements: narrower ones cannot give all orders equally often."""


class Purpose(IntEnum):
    """What a draw decides. The numbers are part of every stream's definition: never reuse one."""

    SOURCE = 1
    DOCUMENT_ORDER = 2
    DOCUMENT_VIEW = 3
    PAIR_ORDER = 4
    PIECE_LENGTH = 5
    PIECE_FORMAT = 6
    CONTEXT_ORDER = 7


@inlined
def absorb(state: Uint64, word: Uint64) -> Uint64:
    """Mix one word into a state (uint64, uint64 -> uint64)."""
    value = (WORD(state) ^ WORD(word)) + _GOLDEN
    value = (value ^ (value >> _SHIFTS[0])) * _FIRST
    value = (value ^ (value >> _SHIFTS[1])) * _SECOND
    return value ^ (value >> _SHIFTS[2])


@compiled
def purpose_key(seed: Uint64, purpose: int, source: int) -> Uint64:
    """The state that all draws of one purpose in one source start from."""
    return absorb(absorb(absorb(WORD(0), WORD(seed)), WORD(purpose)), WORD(source))


@inlined
def uniform(state: Uint64) -> float:
    """A state as a float64 in [0, 1), of 53 bits."""
    return np.float64(WORD(state) >> _SHIFTS[3]) * _UNIT


@compiled
def permuted(position: int, count: int, key: Uint64) -> Int64:
    """Where a keyed permutation of ``0 … count - 1`` sends ``position`` (int64).

    A Feistel network over the smallest power of two that holds ``count``, walked until it lands
    inside (cycle walking); fewer than two rounds of it on average.
    """
    if count <= 1:
        return 0
    bits = MINIMUM_BITS
    while (count - 1) >> bits:
        bits += 1
    low_bits = WORD(bits // 2)
    low_mask = (_ONE << low_bits) - _ONE
    high_mask = (_ONE << (WORD(bits) - low_bits)) - _ONE
    value = WORD(position)
    while True:
        low, high = value & low_mask, value >> low_bits
        for half_round in range(FEISTEL_ROUNDS // 2):
            # The round stands above all bits of a half: no two rounds hash the same word.
            high ^= absorb(key, low | WORD(2 * half_round) << _ROUND_SHIFT) & high_mask
            low ^= absorb(key, high | WORD(2 * half_round + 1) << _ROUND_SHIFT) & low_mask
        value = (high << low_bits) | low
        if value < WORD(count):
            return np.int64(value)


@compiled
def permutation(count: int, key: Uint64) -> NDArray[np.int64]:
    """The whole keyed permutation: int64 ``[count]``."""
    order = np.empty(count, np.int64)
    for position in range(count):
        order[position] = permuted(position, count, key)
    return order
