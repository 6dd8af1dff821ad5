"""Verdicts: pairs, two standard errors, lines and where they meet zero."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from proxylm.config import validate_config
from proxylm.results.experiment import Falls, IsHigher, IsLower
from proxylm.results.record import Observation
from proxylm.results.verdicts import Verdict, finding, straight_line


def lower(**more: Any) -> IsLower:
    values = {"number": "bits", "of": {"arm": "a"}, "minus": {"arm": "b"}, **more}
    return validate_config(IsLower, values)


def observed(arm: str, values: list[float], **labels: Any) -> list[Observation]:
    """One observation for each seed; those of an arm share a part that seeds differ in."""
    return [
        Observation({"arm": arm, "seed": seed, **labels}, {"bits": 10.0 * seed + value})
        for seed, value in enumerate(values)
    ]


def verdict(rule: Any, *observations: list[Observation]) -> Verdict:
    return finding(rule, [one for part in observations for one in part]).verdict


def test_pairs_take_out_what_seeds_differ_in() -> None:
    found = finding(lower(), observed("a", [1.0, 1.1, 0.9]) + observed("b", [2.0, 2.0, 2.1]))
    [pairs] = found.pairs
    assert found.verdict == Verdict.AGREES
    assert pairs.differences == pytest.approx((-1.0, -0.9, -1.2))
    assert pairs.mean == pytest.approx(-31 / 30)
    assert pairs.standard_error == pytest.approx(np.std([1.0, 0.9, 1.2], ddof=1) / math.sqrt(3))


def test_the_verdict_is_by_two_standard_errors_either_way() -> None:
    b = observed("b", [2.0, 2.0, 2.0])
    assert verdict(lower(), observed("a", [3.0, 3.1, 2.9]), b) == Verdict.DOES_NOT
    assert verdict(lower(), observed("a", [1.0, 2.0, 2.9]), b) == Verdict.OPEN
    higher = validate_config(IsHigher, lower().model_dump(exclude={"kind"}))
    assert verdict(higher, observed("a", [3.0, 3.1, 2.9]), b) == Verdict.AGREES
    # The mean is one, and so are two standard errors of it with deviations of √3/2 = 0.866.
    assert verdict(lower(), observed("a", [1.87, 1.0, 0.13]), b) == Verdict.OPEN
    assert verdict(lower(), observed("a", [1.86, 1.0, 0.14]), b) == Verdict.AGREES


def test_two_pairs_tell_nothing_and_lone_observations_are_no_pairs() -> None:
    b = observed("b", [2.0, 2.0, 2.0])
    assert verdict(lower(), observed("a", [1.0, 1.01]), b) == Verdict.OPEN
    assert finding(lower(), b).pairs == ()
    elsewhere = observed("a", [1.0, 1.0, 1.0], corpus="other")
    assert finding(lower(), b + elsewhere).pairs == ()


def test_all_groups_have_to_agree_and_one_that_contradicts_is_enough() -> None:
    def group(label: str, value: float) -> list[Observation]:
        spread = [value - 0.01, value, value + 0.01]
        b = observed("b", [2.0, 2.0, 2.0], corpus=label)
        return observed("a", spread, corpus=label) + b

    rule = lower(per="corpus")
    assert verdict(rule, group("x", 1.0), group("y", 1.5)) == Verdict.AGREES
    assert verdict(rule, group("x", 1.0), group("y", 2.0)) == Verdict.OPEN
    assert verdict(rule, group("x", 1.0), group("y", 2.5)) == Verdict.DOES_NOT
    assert verdict(lower(where={"corpus": "x"}), group("x", 1.0), group("y", 2.5)) == Verdict.AGREES
    lone = [one for one in group("z", 2.5) if one.labels["seed"] == 0]
    assert verdict(rule, group("x", 1.0), lone) == Verdict.AGREES
    assert verdict(rule, lone) == Verdict.OPEN


def test_the_other_number_may_be_another_and_be_multiplied() -> None:
    a = [Observation({"arm": "a", "seed": seed}, {"bits": 1.1}) for seed in range(3)]
    b = [Observation({"arm": "b", "seed": seed}, {"other": 1.0}) for seed in range(3)]
    assert verdict(lower(minus_number="other"), a, b) == Verdict.DOES_NOT
    assert verdict(lower(minus_number="other", times=1.2), a, b) == Verdict.AGREES


def test_a_line_is_that_of_least_squares() -> None:
    x, y = [1.0, 2.0, 4.0, 5.0], [3.0, 2.5, 0.4, 0.1]
    line = straight_line(x, y)
    slope, intercept = np.polyfit(x, y, 1)
    covariance = np.polyfit(x, y, 1, cov=True)[1]
    assert line is not None
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept))
    assert line.slope_error == pytest.approx(math.sqrt(covariance[0, 0]))
    assert line.sign() == -1
    assert straight_line(x[:2], y[:2]) is None
    assert straight_line([1.0, 1.0, 1.0], y[:3]) is None


def test_where_a_line_meets_zero_is_an_interval_of_two_standard_errors() -> None:
    line = straight_line([1.0, 2.0, 4.0, 5.0], [3.0, 2.5, 0.4, 0.1])
    assert line is not None
    at, low, high = line.zero() or (0, 0, 0)
    assert at == pytest.approx(-line.intercept / line.slope)
    for end in (low, high):
        row = np.array([1.0, end])
        error = math.sqrt(row @ np.array(line.covariance) @ row)
        assert abs(line.intercept + line.slope * end) == pytest.approx(2 * error)
    assert low < at < high
    flat = straight_line([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 0.5, 1.5])
    assert flat is not None
    assert flat.zero() is None


def test_a_trend_is_over_powers_of_ten_of_a_number_or_a_label() -> None:
    rule = validate_config(Falls, lower().model_dump(exclude={"kind", "per"}) | {"over": "size"})
    gaps = {100: 1.0, 1000: 0.7, 10_000: 0.42, 100_000: 0.1, 0: 50.0}
    found = finding(
        rule,
        [one for size, gap in gaps.items() for one in observed("a", [2 + gap], size=size)]
        + [one for size in gaps for one in observed("b", [2.0], size=size)],
    )
    assert found.line is not None
    assert found.verdict == Verdict.AGREES
    assert found.line.count == 4  # there is no power of ten that is zero
    assert found.line.slope == pytest.approx(-0.298)
    assert [pairs.label for pairs in found.pairs] == [100, 1000, 10_000, 100_000]
