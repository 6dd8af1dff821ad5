from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from coder_cases import TERMINATIONS
from hypothesis import given, settings
from hypothesis import strategies as st

from proxylm.compressors.neural.coder.interval import (
    WINDOW_SCALE_BITS,
    Bits,
    Interval,
    shared_bits,
    shortest_bits,
)
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.coder.windows import packed, window_of
from proxylm.compressors.neural.coder.words import code_of, fits

SMALL_BITS = 6
SMALL = [
    Interval(low=low, width=width, scale_bits=SMALL_BITS)
    for low in range(1 << SMALL_BITS)
    for width in range(1, (1 << SMALL_BITS) - low + 1)
]


def numbers_with(bits: Bits, scale_bits: int) -> range:
    start = bits.value << scale_bits - bits.length
    return range(start, start + (1 << scale_bits - bits.length))


def all_bit_strings():
    for length in range(SMALL_BITS + 1):
        for value in range(1 << length):
            yield Bits(value=value, length=length)


def test_shared_bits_are_the_longest_prefix_of_all_numbers():
    for interval in SMALL:
        numbers = set(range(interval.low, interval.low + interval.width))
        longest = [b for b in all_bit_strings() if numbers <= set(numbers_with(b, SMALL_BITS))][-1]
        assert shared_bits(interval) == longest


def test_shortest_bits_are_the_first_string_that_lies_inside():
    for interval in SMALL:
        numbers = set(range(interval.low, interval.low + interval.width))
        first = next(b for b in all_bit_strings() if set(numbers_with(b, SMALL_BITS)) <= numbers)
        assert shortest_bits(interval) == first


def test_bits_used_round_the_information_down():
    assert [
        Interval(low=0, width=width, scale_bits=4).bits_used for width in (16, 15, 9, 8, 4, 2, 1)
    ] == [0, 0, 0, 1, 2, 3, 4]


def test_one_step_by_hand():
    start = Interval(low=0, width=1 << 48, scale_bits=48)
    assert start.narrowed(0x4000, 0x8000) == Interval(low=1 << 46, width=1 << 47, scale_bits=48)
    rounded = Interval(low=5, width=0x1FFFF, scale_bits=48).narrowed(0x8000, 0xFFFF)
    assert (rounded.low, rounded.width) == (5 + 0xFFFF, 0x1FFFD)


@given(
    st.lists(st.tuples(st.integers(0, 65534), st.integers(1, 65535)), min_size=1, max_size=30),
    st.sampled_from(TERMINATIONS),
    st.sampled_from([8, 16]),
)
@settings(max_examples=200, deadline=None)
def test_without_windows_nothing_is_rounded(path, termination, pack_bits):
    path = [(below, min(own, 65536 - below)) for below, own in path]
    window = window_of(
        CoderSettings(window_bits=None, pack_bits=pack_bits, termination=termination)
    )
    low, width = Fraction(0), Fraction(1)
    interval = window.start
    for below, own in path:
        low, width = low + width * below / 65536, width * own / 65536
        interval = window.extended(interval, below, own)
    scale = 1 << interval.scale_bits
    assert (Fraction(interval.low, scale), Fraction(interval.width, scale)) == (low, width)
    assert window.interval_of(path) == interval

    bits = termination.code(interval)
    start, size = Fraction(bits.value, 1 << bits.length), Fraction(1, 1 << bits.length)
    if termination.shortest:
        assert low <= start and start + size <= low + width
    else:
        assert start <= low and low + width <= start + size
    symbols = window.symbols(interval)
    assert len(symbols) == max(1, -(-bits.length // pack_bits))
    joined = sum(one << pack_bits * place for place, one in enumerate(reversed(symbols)))
    assert joined == bits.value << len(symbols) * pack_bits - bits.length


@given(
    st.integers(0, (1 << 48) - 1),
    st.integers(0, 47),
    st.integers(0, (1 << 48) - 1),
    st.sampled_from([16, 24, 32, 48]),
    st.sampled_from(TERMINATIONS),
)
@settings(max_examples=500, deadline=None)
def test_machine_words_compute_what_pythons_integers_do(
    low, shift, width, window_bits, termination
):
    width = min((width >> shift) + 1, (1 << 48) - low)
    interval = Interval(low=low, width=width, scale_bits=WINDOW_SCALE_BITS)
    expected_fits = termination.bits_needed(interval) <= window_bits
    arguments = np.uint64(low), np.uint64(width), window_bits, termination.shortest
    assert fits(*arguments) == expected_fits
    if expected_fits:
        assert int(code_of(*arguments)) == termination.code(interval).padded(window_bits).value


def test_a_width_of_0_does_not_fit_machine_words():
    assert not fits(np.uint64(7), np.uint64(0), 48, False)


@pytest.mark.parametrize("pack_bits", [8, 16])
def test_the_most_significant_symbol_comes_first(pack_bits):
    expected = {8: [0x12, 0x34, 0x56, 0x78], 16: [0x1234, 0x5678]}[pack_bits]
    assert packed(Bits(value=0x12345678, length=32), pack_bits) == expected
