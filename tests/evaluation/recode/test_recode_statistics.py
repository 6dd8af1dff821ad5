"""ReCode's scores against cases computed by hand."""

from __future__ import annotations

from functools import partial

import pytest

from proxylm.errors import DataError, UsageError
from proxylm.evaluation.recode.statistics import (
    Robustness,
    aggregated,
    mean_of,
    robustness,
)

# Four problems, one sample each. Nominal: 3 of 4 right.
NOMINAL = {"a": [True], "b": [True], "c": [True], "d": [False]}
SEED_0 = {"a": [True], "b": [False], "c": [True], "d": [False]}
SEED_1 = {"a": [True], "b": [True], "c": [False], "d": [True]}
OTHER = {"a": [False], "b": [True], "c": [True], "d": [False]}


def test_one_sample_worst_of_two_seeds() -> None:
    scores = robustness(NOMINAL, [SEED_0, SEED_1])
    # Right under both seeds: a alone. Changed by some seed: b, c (lost), d (won).
    assert scores == Robustness(
        nominal=3 / 4, robust_pass=1 / 4, robust_drop=pytest.approx(2 / 3), robust_relative=3 / 4
    )


def test_one_variant_alone() -> None:
    scores = robustness(NOMINAL, [SEED_0])
    assert scores == Robustness(
        nominal=3 / 4, robust_pass=2 / 4, robust_drop=pytest.approx(1 / 3), robust_relative=1 / 4
    )


def test_several_samples_and_k() -> None:
    # Problem a, n = 3. Right under both variants: sample 0 (rc = 1).
    # Lost: sample 1 (right nominally, wrong in the second). Won: sample 2 (right in the first).
    nominal = {"a": [True, True, False]}
    variants = [{"a": [True, True, True]}, {"a": [True, False, False]}]
    one = robustness(nominal, variants, k=1)
    assert one.nominal == pytest.approx(2 / 3)
    assert one.robust_pass == pytest.approx(1 / 3)
    assert one.robust_drop == pytest.approx(1 / 2)
    assert one.robust_relative == pytest.approx(1 / 3 + 1 / 3)
    # k = 2: C(2,2)/C(3,2) = 1/3, so RP = 2/3; nominal 1 - C(1,2)/3 = 1; RR = 2·(1 - 1/3).
    two = robustness(nominal, variants, k=2)
    assert two.nominal == 1
    assert two.robust_pass == pytest.approx(2 / 3)
    assert two.robust_drop == pytest.approx(1 / 3)
    assert two.robust_relative == pytest.approx(4 / 3)


def test_a_family_in_both_aggregations() -> None:
    family = aggregated(
        {"random": [SEED_0, SEED_1], "fixed": [OTHER]}, partial(robustness, NOMINAL)
    )
    assert family.perturbations["random"].robust_pass == 1 / 4
    assert family.perturbations["fixed"].robust_pass == 2 / 4
    # Mean of the two: (1/4 + 2/4)/2; worst over all three variants: none is right everywhere.
    assert family.mean.robust_pass == pytest.approx(3 / 8)
    assert family.mean.robust_drop == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert family.mean.robust_relative == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert family.worst.robust_pass == 0
    assert family.worst.robust_drop == 1
    assert family.worst.robust_relative == 1


def test_the_drop_is_undefined_where_nothing_is_right() -> None:
    nothing = {"a": [False]}
    scores = robustness(nothing, [{"a": [True]}])
    assert scores == Robustness(nominal=0, robust_pass=1, robust_drop=None, robust_relative=1)
    assert mean_of([scores, robustness(NOMINAL, [NOMINAL])]).robust_drop is None


def test_nothing_changes_nothing() -> None:
    scores = robustness(NOMINAL, [NOMINAL, NOMINAL])
    assert (scores.robust_pass, scores.robust_drop, scores.robust_relative) == (0.75, 0, 0)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(DataError, match="b: a variant has 0 results, nominal has 1"):
        robustness(NOMINAL, [{"a": [True]}])
    with pytest.raises(DataError, match="no variant"):
        robustness(NOMINAL, [])
    with pytest.raises(DataError, match="no perturbation"):
        mean_of([])
    with pytest.raises(UsageError, match="pass@2"):
        robustness(NOMINAL, [SEED_0], k=2)
