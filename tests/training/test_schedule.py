"""Learning rates by step: warm-up, ends of the cosine, the constant, and bad settings."""

from __future__ import annotations

import itertools
import math

import pytest
from pydantic import TypeAdapter, ValidationError

from proxylm.errors import UsageError
from proxylm.training.schedule import (
    ConstantRate,
    ConstantThenCosineRate,
    CosineRate,
    LearningRate,
)


def test_warm_up_is_linear_and_reaches_the_peak() -> None:
    schedule = CosineRate(peak=0.5, warmup_steps=4)
    assert [schedule.rate(step, 100) for step in range(4)] == [0.125, 0.25, 0.375, 0.5]


def test_cosine_ends_at_a_tenth_of_the_peak() -> None:
    schedule = CosineRate(peak=1.0, warmup_steps=500)
    assert schedule.rate(49_999, 50_000) == pytest.approx(0.1, rel=1e-12)


def test_cosine_is_halfway_in_the_middle_and_never_rises() -> None:
    schedule = CosineRate(peak=1.0, warmup_steps=0, final_fraction=0.2)
    assert schedule.rate(499, 1000) == pytest.approx(0.6, rel=1e-12)
    rates = [schedule.rate(step, 1000) for step in range(1000)]
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))


def test_cosine_agrees_with_the_formula_written_out() -> None:
    schedule = CosineRate(peak=2.0, warmup_steps=10, final_fraction=0.1)
    expected = 2.0 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 31 / 90)))
    assert schedule.rate(40, 100) == pytest.approx(expected, rel=1e-12)


def test_constant_stays_at_the_peak() -> None:
    schedule = ConstantRate(peak=3e-4, warmup_steps=2)
    assert [schedule.rate(step, 5) for step in range(5)] == [1.5e-4, 3e-4, 3e-4, 3e-4, 3e-4]


def test_a_cosine_of_its_own_ends_a_run_at_the_peak() -> None:
    schedule = ConstantThenCosineRate(peak=2.0, warmup_steps=2, fraction=0.6)
    rates = [schedule.rate(step, 10) for step in range(10)]
    assert rates[:6] == [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    stage = CosineRate(peak=2.0, warmup_steps=0)
    assert rates[6:] == [stage.rate(step, 4) for step in range(4)]
    assert rates[-1] == pytest.approx(0.2)


def test_the_part_at_the_peak_is_given_in_steps_too() -> None:
    in_steps = ConstantThenCosineRate(peak=1.0, warmup_steps=0, steps=6)
    share = ConstantThenCosineRate(peak=1.0, warmup_steps=0, fraction=0.6)
    assert [in_steps.rate(k, 10) for k in range(10)] == [share.rate(k, 10) for k in range(10)]
    with pytest.raises(UsageError, match=r"learning_rate.steps 6 exceed the run's 5 steps"):
        in_steps.require_fits(5)


def test_a_run_that_is_all_warm_up_has_rates() -> None:
    assert CosineRate(peak=1.0, warmup_steps=2).rate(1, 2) == 1.0


@pytest.mark.parametrize("kind", ["linear", None])
def test_unknown_kinds_are_refused(kind: str | None) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(LearningRate).validate_python({"kind": kind, "peak": 1.0})


@pytest.mark.parametrize("peak", [0.0, -1.0, float("nan")])
def test_impossible_peaks_are_refused(peak: float) -> None:
    with pytest.raises(UsageError, match=r"^CosineRate: peak"):
        CosineRate(peak=peak)
