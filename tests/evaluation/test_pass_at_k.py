"""pass@k against counting all choices, and against values computed by hand."""

from __future__ import annotations

from itertools import combinations

import pytest

from proxylm.errors import DataError, UsageError
from proxylm.evaluation.pass_at_k import hit_probability, pass_at_k


@pytest.mark.parametrize("samples", range(1, 8))
def test_it_is_the_share_of_choices_that_hold_a_right_sample(samples: int) -> None:
    for hits in range(samples + 1):
        right = [True] * hits + [False] * (samples - hits)
        for k in range(1, samples + 1):
            choices = list(combinations(right, k))
            expected = sum(map(any, choices)) / len(choices)
            assert float(hit_probability(samples, hits, k)) == pytest.approx(expected, abs=1e-15)


def test_values_computed_by_hand() -> None:
    # 20 samples, 3 right, k 10: 1 - (17·16·…·8)/(20·19·…·11) = 1 - (10·9·8)/(20·19·18) = 17/19.
    assert float(hit_probability(20, 3, 10)) == 17 / 19
    # Two problems of 2 samples: one right, none right. k 1: (1/2 + 0)/2; k 2: (1 + 0)/2.
    correct = [[True, False], [False, False]]
    assert pass_at_k(correct, 1) == 0.25
    assert pass_at_k(correct, 2) == 0.5
    assert pass_at_k([[True]] * 54 + [[False]] * 110, 1) == 54 / 164


def test_it_stays_exact_where_binomials_are_huge() -> None:
    assert float(hit_probability(2000, 1, 1000)) == 0.5


def test_too_few_samples_and_no_problems_are_named() -> None:
    with pytest.raises(UsageError, match="pass@10: k must be between 1 and the 3 samples"):
        pass_at_k([[True] * 3], 10)
    with pytest.raises(UsageError, match="pass@0"):
        pass_at_k([[True]], 0)
    with pytest.raises(DataError, match="no problem"):
        pass_at_k([], 1)
