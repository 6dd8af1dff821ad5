from __future__ import annotations

import numpy as np
import pytest
from fake_lm import FakeLM, TiedLM

from proxylm.compressors.neural.coder.frequencies import (
    TOTAL,
    UNCERTAIN_PROBABILITY,
    FrequencySource,
    quantize,
    root_floor,
)
from proxylm.errors import DataError

SCALE = TOTAL - 256
STRINGS = [b"", b"a", b"aaaa", b"def f(x):", bytes(range(40))]


def row_with(**probabilities: float) -> np.ndarray:
    row = np.zeros((1, 256))
    for byte, probability in probabilities.items():
        row[0, ord(byte)] = probability
    return row


def test_rows_have_the_total_and_the_floor():
    rows = np.concatenate([FakeLM().canonical(string) for string in STRINGS])
    for floor in (1, 2, 5):
        frequencies, _ = quantize(rows, floor)
        assert (frequencies.sum(axis=1) == TOTAL).all()
        assert frequencies.min() == floor


def test_frequencies_by_hand():
    frequencies, uncertain = quantize(row_with(a=0.7500001, b=0.2499999), floor=1)
    # floor(p * 65280) + 1; what is left over goes to 'a'.
    assert frequencies[0, ord("b")] == 16319 + 1
    assert frequencies[0, ord("a")] == TOTAL - 254 - 16320
    assert frequencies[0, ord("c")] == 1
    assert not uncertain.any()


def test_the_lowest_of_equally_probable_bytes_takes_what_is_left_over():
    frequencies, uncertain = quantize(row_with(x=0.41, y=0.41, z=0.18), floor=1)
    assert frequencies[0, ord("x")] == frequencies[0, ord("y")] + 2
    assert uncertain.all()


@pytest.mark.parametrize("offset", [0.0, 0.4, -0.4])
def test_rows_near_a_step_are_uncertain_and_others_are_not(offset):
    step = (1000 + offset * UNCERTAIN_PROBABILITY * SCALE) / SCALE
    assert quantize(row_with(a=step, b=1 - step), floor=1)[1].all()
    away = (1000 + (offset + 3) * UNCERTAIN_PROBABILITY * SCALE) / SCALE
    assert not quantize(row_with(a=away, b=1 - away), floor=1)[1].any()


def test_bytes_that_are_all_but_impossible_make_nothing_uncertain():
    row = row_with(a=0.7000001, b=0.2999999)
    row[0, 5] = 1e-19
    assert not quantize(row, floor=1)[1].any()


@pytest.mark.parametrize("lm_class", [FakeLM, TiedLM])
@pytest.mark.parametrize("noise", [1e-16, 1e-15, 1e-14])
def test_noise_of_the_floats_moves_no_frequency(lm_class, noise):
    clean, noisy = FrequencySource(lm_class(), 16), FrequencySource(lm_class(noise=noise), 16)
    for expected, rows in zip(clean.rows(STRINGS), noisy.rows(STRINGS), strict=True):
        np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(noisy.rows_after(STRINGS), clean.rows_after(STRINGS))


def test_without_the_arbiter_noise_would_move_them():
    rows = TiedLM().canonical(b"def f(x):")[1:]
    noisy = TiedLM(noise=1e-14).probabilities([b"def f(x):"])[0][1:]
    assert (quantize(rows, 1)[0] != quantize(noisy, 1)[0]).any()
    assert quantize(rows, 1)[1].all()


def test_both_ways_to_ask_agree():
    source = FrequencySource(FakeLM(), 16)
    after = source.rows_after(STRINGS)
    for row, rows in zip(after, source.rows(STRINGS), strict=True):
        np.testing.assert_array_equal(row, rows[-1])


@pytest.mark.parametrize("window_bits", [16, 32, None])
def test_the_root_leaves_every_byte_room_for_a_window(window_bits):
    source = FrequencySource(FakeLM(), window_bits)
    assert source.rows_after([b""]).min() == root_floor(window_bits) == 2
    assert source.rows([b"q"])[0][0].min() == 2
    assert source.rows([b"q"])[0][1].min() == 1


@pytest.mark.parametrize("damage", [np.nan, np.inf, -0.5])
def test_damaged_weights_are_named(damage):
    row = FakeLM().canonical(b"")
    row[0, 7] = damage
    with pytest.raises(DataError, match="byte LM gives no distribution"):
        quantize(row, 1)


def test_rows_that_are_no_distribution_are_named():
    with pytest.raises(DataError, match="do not add up"):
        quantize(row_with(a=0.5), 1)
    with pytest.raises(DataError, match="do not add up"):
        quantize(row_with(a=0.9, b=0.3), 1)
