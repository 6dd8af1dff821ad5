"""Sampling: exact nuclei, the right frequencies, and draws that depend on counters alone."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxylm.generation.sampling import draw, nucleus, uniform

small_logits = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12)


def plain_nucleus(logits: list[float], temperature: float, top_p: float) -> list[int]:
    """The definition, one symbol at a time."""
    top = max(logits)
    weights = [math.exp((value - top) / temperature) for value in logits]
    total = math.fsum(weights)
    order = sorted(range(len(logits)), key=lambda index: (-weights[index], index))
    kept: list[int] = []
    reached = 0.0
    for index in order:
        if kept and reached >= top_p:
            break
        kept.append(index)
        reached += weights[index] / total
    return kept


def test_greedy_takes_the_first_of_equals() -> None:
    logits = np.array([0.0, 3.0, 1.0, 3.0], np.float32)
    assert [draw(logits, 0.0, 1.0, number) for number in (0.0, 0.5, 1 - 2**-53)] == [1, 1, 1]


@given(small_logits, st.floats(0.05, 5), st.floats(0.01, 0.999))
def test_nucleus_is_the_shortest_run_that_reaches_top_p(
    values: list[float], temperature: float, top_p: float
) -> None:
    logits = np.array(values, np.float32)
    order, cumulative = nucleus(logits, temperature, top_p)
    expected = plain_nucleus([float(value) for value in logits], temperature, top_p)
    # Two ways to sum may differ where a total meets top_p to the last bit.
    if all(abs(total - top_p) > 1e-12 for total in cumulative):
        assert order.tolist() == expected
    assert len(order) == 1 or cumulative[-2] < top_p


def test_nucleus_with_exact_halves() -> None:
    logits = np.array([0.0, math.log(2.0), -math.inf, 0.0], np.float32)
    assert nucleus(logits, 1.0, 0.4)[0].tolist() == [1]
    assert nucleus(logits, 1.0, 0.51)[0].tolist() == [1, 0]
    assert nucleus(logits, 1.0, 1.0)[0].tolist() == [1, 0, 3]


def test_impossible_symbols_are_never_drawn_even_at_the_end_of_the_unit_interval() -> None:
    logits = np.array([-math.inf, 1.0, -math.inf, 0.0], np.float32)
    just_below_one = float(np.nextafter(1.0, 0.0))
    for number in (0.0, 0.3, 0.9, just_below_one):
        assert draw(logits, 1.0, 1.0, number) in (1, 3)


def test_a_tiny_temperature_is_greedy() -> None:
    logits = np.array([1.0, 1.0001, -5.0], np.float32)
    for number in (0.0, 0.5, 0.999999):
        assert draw(logits, 1e-300, 1.0, number) == 1


def test_drawn_frequencies_follow_the_distribution() -> None:
    probabilities = np.array([0.5, 0.3, 0.15, 0.05])
    logits = np.log(probabilities).astype(np.float32)
    draws = 20_000
    counts = np.zeros(4)
    for sample in range(draws):
        counts[draw(logits, 1.0, 1.0, uniform(7, sample, 3))] += 1
    spread = np.sqrt(probabilities * (1 - probabilities) / draws)
    assert np.all(np.abs(counts / draws - probabilities) < 5 * spread)


def test_temperature_sharpens_as_a_power_of_the_probabilities() -> None:
    logits = np.log(np.array([0.75, 0.25])).astype(np.float32)
    cumulative = nucleus(logits, 0.5, 1.0)[1]
    assert cumulative[0] == pytest.approx(float(Fraction(9, 10)), rel=1e-6)


def test_uniform_depends_on_every_counter_and_on_nothing_else() -> None:
    base = uniform(1, 2, 3)
    assert base == uniform(1, 2, 3)
    assert len({base, uniform(2, 2, 3), uniform(1, 3, 3), uniform(1, 2, 4), uniform(2, 1, 3)}) == 5
    numbers = [uniform(0, 0, position) for position in range(4000)]
    assert all(0 <= number < 1 for number in numbers)
    assert abs(float(np.mean(numbers)) - 0.5) < 5 / math.sqrt(12 * 4000)
