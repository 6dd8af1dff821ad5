"""Where the rate varies: contexts packed at their step's rate, steps of many documents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from memory_store import unchecked_batches

from proxylm.data.batches import Batches
from proxylm.data.lengths import lengths_store
from proxylm.data.mixture import ConstantRate, DocumentGranularity, Mixture, NoPairs, WarmUpRate
from proxylm.data.packing.lanes import LANE_STRIDE, lane_order
from proxylm.data.statistics import StepStatistics

NO_PAIRS = DocumentGranularity(pairing=NoPairs())


def lengths_batches(num_bytes: np.ndarray, mixing: Mixture, **changes: Any) -> Batches:
    settings: dict[str, Any] = {"context": 512, "contexts_per_step": 16, "steps": 100} | changes
    return unchecked_batches([lengths_store(num_bytes, rho=3.7)], mixing, **settings)


def some_lengths(mean: int, count: int = 20_000) -> np.ndarray:
    return 1 + np.random.default_rng(0).exponential(mean, count).astype(np.int64)


def shown_beside_asked(part: list[StepStatistics]) -> tuple[float, float, float]:
    """Share of the views shown compressed, share asked for, and the noise of so many views."""
    views = sum(s.views for s in part)
    compressed = sum(s.rate_shown * s.views for s in part if s.views)
    asked = sum(s.rate_asked * s.views for s in part) / views
    return compressed / views, asked, np.sqrt(asked * (1 - asked) / views)


@pytest.mark.parametrize(("steps", "contexts_per_step"), [(100, 64), (500, 32), (5000, 8)])
@pytest.mark.parametrize("mean_bytes", [400, 4000])
def test_the_papers_schedule_is_shown_as_asked_in_runs_of_any_length(
    steps: int, contexts_per_step: int, mean_bytes: int
):
    drawn = lengths_batches(
        some_lengths(mean_bytes), Mixture(), steps=steps, contexts_per_step=contexts_per_step
    )
    # The first fifth in five parts, and about as many steps of what follows.
    rising = np.array_split(np.arange(steps // 5), 5)
    parts = [
        [drawn.statistics(int(s)) for s in part] for part in (*rising, range(steps - 20, steps))
    ]
    for part, middle in zip(parts, (0.45, 0.55, 0.65, 0.75, 0.85, 0.9), strict=True):
        shown, asked, noise = shown_beside_asked(part)
        assert np.mean([s.rate_asked for s in part]) == pytest.approx(middle, abs=0.02)
        assert shown == pytest.approx(asked, abs=4 * noise)


def test_what_the_steps_hold_rises_with_the_rate():
    # Documents of many contexts each: what is begun in a step is little of what it shows.
    drawn = lengths_batches(some_lengths(4000), Mixture(), steps=2500)
    rising = [drawn.statistics(step) for step in range(500)]
    for part in np.array_split(np.arange(500), 5):
        symbols = sum(rising[step].compressed_symbols for step in part)
        share = symbols / (symbols + sum(rising[step].raw_symbols for step in part))
        rate = np.mean([rising[step].rate_asked for step in part])
        assert share == pytest.approx(rate / 3.7 / (rate / 3.7 + 1 - rate), abs=0.05)


def documents_of_steps(drawn: Batches) -> list[int]:
    """How many documents each step draws on."""
    numbers = []
    for step in range(drawn.steps):
        block = drawn.plan.block_of(step)
        spans = np.concatenate([block.spans_of(context) for context in block.contexts_of(step)])
        numbers.append(len(set(spans["draw"].tolist())))
    return numbers


@pytest.mark.parametrize("steps", [20, 100, 250])
def test_a_step_draws_on_as_many_documents_as_where_contexts_are_shuffled(steps: int):
    num_bytes = some_lengths(300, 2000)
    num_bytes[::400] = 60_000  # more than a hundred contexts each
    # The same contexts in both: all raw, but for the rate's sake in lanes.
    lanes, shuffled = (
        documents_of_steps(
            lengths_batches(num_bytes, Mixture(rate=rate, granularity=NO_PAIRS), steps=steps)
        )
        for rate in (WarmUpRate(start=0.0, end=1e-9, fraction=1.0), ConstantRate(rate=0.0))
    )
    assert sum(lanes) >= sum(shuffled)
    assert min(lanes) >= min(shuffled)


@pytest.mark.parametrize("contexts_per_step", [1, 4, 7])
@pytest.mark.parametrize("steps", [1, 5, 40, 256])
def test_a_lane_goes_on_a_few_steps_away(steps: int, contexts_per_step: int):
    order = lane_order(steps, contexts_per_step)
    step_of = np.argsort(order) // contexts_per_step
    assert sorted(order.tolist()) == list(range(steps * contexts_per_step))
    assert np.abs(np.diff(step_of)).max(initial=0) <= LANE_STRIDE
    # One context of each row of lanes in every step.
    rows = np.sort(order.reshape(steps, contexts_per_step) // steps)
    assert (rows == np.arange(contexts_per_step)).all()
