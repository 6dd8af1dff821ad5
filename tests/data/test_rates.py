from __future__ import annotations

import numpy as np
import pytest

from proxylm.data.mixture import ConstantRate, DocumentGranularity, Mixture, WarmUpRate
from proxylm.data.rates import mean_over_steps, mean_over_warm_up, samples_per_step, view_shares


@pytest.mark.parametrize("rate", np.linspace(0, 1, 41))
def test_calibrated_shares_show_the_asked_rate(rate: float):
    shares = view_shares(rate, True)
    views = shares.compressed + shares.raw + 2 * shares.pair
    assert (shares.compressed + shares.pair) / views == pytest.approx(rate)
    for share in (shares.compressed, shares.pair, shares.raw):
        assert -1e-12 <= share <= 1
    # Above one half nothing is raw-only, below it nothing is compressed-only.
    assert (shares.raw if rate >= 0.5 else shares.compressed) == pytest.approx(0)


def test_shares_without_pairs_are_the_rate():
    shares = view_shares([0.0, 0.25, 1.0], False)
    assert shares.compressed.tolist() == [0.0, 0.25, 1.0]
    assert shares.pair.tolist() == [0, 0, 0]
    assert shares.raw.tolist() == [1.0, 0.75, 0.0]


def test_appendix_a_at_the_papers_values():
    assert samples_per_step(3.7, 1.0, False) == pytest.approx(3.7)
    assert samples_per_step(3.7, 0.9, False) == pytest.approx(2.913, abs=5e-4)
    assert samples_per_step(3.7, 0.9, True) == pytest.approx(2.622, abs=5e-4)
    assert samples_per_step(3.7, 0.0, False) == samples_per_step(3.7, 0.0, True) == 1


@pytest.mark.parametrize("rho", [1.0, 1.5, 3.7, 5.1])
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.4999, 0.5, 0.75, 1.0])
def test_samples_per_step_are_the_published_formulas(rho: float, rate: float):
    assert samples_per_step(rho, rate, False) == pytest.approx(1 / (1 - rate + rate / rho))
    high = 1 / (1 / rho + 1 / rate - 1)
    expected = high if rate >= 0.5 else 1 / (1 + (rate / (1 - rate)) / rho)
    assert samples_per_step(rho, rate, True) == pytest.approx(expected)


def test_the_default_schedule():
    assert mean_over_warm_up(3.7, 0.4, 0.9, has_pairs=True) == pytest.approx(1.379, abs=5e-4)
    assert mean_over_steps(3.7, Mixture.paper(), 50_000) == pytest.approx(2.606, abs=5e-4)


@pytest.mark.parametrize("rho", [1.0, 1 + 1e-9, 1.7, 3.7, 0.8])
@pytest.mark.parametrize(("start", "end"), [(0.4, 0.9), (0.9, 0.4), (0.1, 0.3), (0.6, 1.0), (0, 1)])
@pytest.mark.parametrize("has_pairs", [False, True])
def test_closed_form_is_the_mean_over_steps(rho: float, start: float, end: float, has_pairs: bool):
    steps = 20_000
    middle = start + (end - start) * (np.arange(steps) + 0.5) / steps
    expected = samples_per_step(rho, middle, has_pairs).mean()
    assert mean_over_warm_up(rho, start, end, has_pairs=has_pairs) == pytest.approx(
        expected, rel=1e-6
    )


def test_closed_form_is_the_schedules_mean_to_four_digits():
    pairs_throughout = Mixture(
        rate=WarmUpRate(fraction=1.0),
        granularity=DocumentGranularity.model_validate({"pairing": {"fraction": 1.0}}),
    )
    over_steps = mean_over_steps(3.7, pairs_throughout, 10_000)
    closed = mean_over_warm_up(3.7, 0.4, 0.9, has_pairs=True)
    assert over_steps == pytest.approx(closed, rel=1e-4)
    assert f"{over_steps:.4g}" == f"{closed:.4g}" == "1.379"


def test_a_constant_schedule_is_one_rate():
    mixing = Mixture(rate=ConstantRate(rate=0.6))
    expected = 0.2 * samples_per_step(2.0, 0.6, True) + 0.8 * samples_per_step(2.0, 0.6, False)
    assert mean_over_steps(2.0, mixing, 1000) == pytest.approx(float(expected))
    assert mean_over_warm_up(2.0, 0.6, 0.6, has_pairs=False) == pytest.approx(
        float(samples_per_step(2.0, 0.6, False))
    )
