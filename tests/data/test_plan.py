from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from memory_store import MemoryDocument, memory_store, random_documents, unchecked_batches

from proxylm.data.batch import Batch
from proxylm.data.batches import Batches
from proxylm.data.lengths import lengths_store
from proxylm.data.mixture import (
    AlwaysPairs,
    ConstantRate,
    DocumentGranularity,
    Mixture,
    NoPairs,
    PieceGranularity,
    WarmUpPairs,
    WarmUpRate,
)
from proxylm.data.mixture_numbers import mixture_numbers
from proxylm.data.packing.plan import BLOCKS_KEPT, make_draws
from proxylm.data.packing.spans import COMPRESSED, RAW, STARTS_DOCUMENT
from proxylm.errors import DataError

MIXTURES = {
    "paper": Mixture(shuffle_block_steps=4),
    "pieces": Mixture(
        granularity=PieceGranularity(min_symbols=4, max_symbols=30), shuffle_block_steps=3
    ),
    "cut, plain": Mixture(
        granularity=DocumentGranularity(pairing=AlwaysPairs(), pair_overflow="cut"),
        overflow="plain",
        shuffle_block_steps=1,
    ),
    "truncate": Mixture(overflow="truncate", sentinels=False, shuffle_block_steps=100),
    "stop": Mixture(when_exhausted="stop", shuffle_block_steps=5),
    "rising throughout": Mixture(rate=WarmUpRate(fraction=1.0)),
    "rising until it stops": Mixture(
        rate=WarmUpRate(fraction=1.0), when_exhausted="stop", shuffle_block_steps=6
    ),
}


def small_batches(mixing: Mixture, **changes: Any) -> Batches:
    """Two sources, contexts of 48, six of them a step, 20 steps."""
    settings: dict[str, Any] = {"steps": 20, "contexts_per_step": 6, "seed": 9}
    settings |= changes
    sources = [
        memory_store(random_documents(40, mean_bytes=90, seed=1), shard_sizes=[13, 0, 27]),
        memory_store(random_documents(150, mean_bytes=200, seed=2), shard_sizes=[150]),
    ]
    return unchecked_batches(sources, mixing, context=48, weights=[1.0, 3.0], heads=2, **settings)


def edges_of(steps: int, mixture: Mixture) -> np.ndarray:
    return mixture_numbers(mixture, steps).edges


def arrays(batch: Batch) -> list[list[Any]]:
    return [
        batch.inputs.tolist(),
        batch.targets.tolist(),
        batch.segment_ids.tolist(),
        batch.position_ids.tolist(),
        batch.contexts.tolist(),
    ]


@pytest.mark.parametrize("name", MIXTURES)
def test_any_step_reached_directly_equals_the_sequential_one(name: str):
    sequential = small_batches(MIXTURES[name])
    batches = [arrays(sequential.batch(step)) for step in range(sequential.steps)]
    statistics = [sequential.statistics(step) for step in range(sequential.steps)]
    assert len(batches) > 8
    for step in np.random.default_rng(0).permutation(sequential.steps)[:8]:
        fresh = small_batches(MIXTURES[name])
        assert arrays(fresh.batch(int(step))) == batches[step]
        assert fresh.statistics(int(step)).to_json() == statistics[step].to_json()
    backwards = small_batches(MIXTURES[name])
    for step in reversed(range(backwards.steps)):
        assert arrays(backwards.batch(step)) == batches[step]


def test_different_seeds_give_different_data():
    first, second = small_batches(MIXTURES["paper"]), small_batches(MIXTURES["paper"], seed=10)
    assert arrays(first.batch(3))[0] != arrays(second.batch(3))[0]


def test_only_the_last_blocks_are_kept():
    drawn = small_batches(Mixture(shuffle_block_steps=1))
    for step in range(drawn.steps):
        drawn.batch(step)
    assert drawn.plan._block.cache_info().currsize == BLOCKS_KEPT


def test_blocks_do_not_cross_the_end_of_a_warm_up():
    mixing = Mixture(
        rate=WarmUpRate(fraction=0.3),
        granularity=DocumentGranularity(pairing=WarmUpPairs(fraction=0.17)),
        shuffle_block_steps=40,
    )
    assert edges_of(200, mixing).tolist() == [0, 34, 60, 100, 140, 180, 200]
    assert edges_of(3, Mixture.bytes_only()).tolist() == [0, 3]


@pytest.mark.parametrize("name", ["paper", "rising throughout"])
def test_contexts_are_put_in_order_inside_their_block_and_nowhere_else(name: str):
    drawn = small_batches(MIXTURES[name])
    edges = edges_of(20, MIXTURES[name])
    for first, end in pairwise(edges):
        block = drawn.plan.block_of(int(first))
        assert sorted(block.order.tolist()) == list(range((end - first) * 6))
        assert block.order.tolist() != sorted(block.order.tolist())


def test_a_long_document_does_not_fill_a_batch():
    long = [MemoryDocument(raw=bytes(20_000), symbols=(1,) * 7000)]
    drawn = unchecked_batches(
        [memory_store([*long, *random_documents(400, mean_bytes=100)], shard_sizes=[401])],
        Mixture.bytes_only(),
        context=64,
        contexts_per_step=8,
        steps=100,
    )
    zeros = [(drawn.batch(step).inputs == 64).mean(axis=1) > 0.9 for step in range(100)]
    contexts = [int(full.sum()) for full in zeros]
    assert sum(contexts) >= 300
    assert np.mean([count == 8 for count in contexts]) < 0.2


# --- rates


def lengths_batches(mixing: Mixture, **changes: Any) -> Batches:
    settings: dict[str, Any] = {"context": 512, "contexts_per_step": 64, "steps": 100}
    settings |= changes
    num_bytes = 1 + np.random.default_rng(0).exponential(900, 20_000).astype(np.int64)
    return unchecked_batches([lengths_store(num_bytes, rho=3.7)], mixing, **settings)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("pairing", [NoPairs(), AlwaysPairs()])
def test_the_rate_shown_is_the_rate_asked(rate: float, pairing: Any):
    mixing = Mixture(rate=ConstantRate(rate=rate), granularity=DocumentGranularity(pairing=pairing))
    drawn = lengths_batches(mixing)
    statistics = [drawn.statistics(step) for step in range(drawn.steps)]
    views = sum(s.views for s in statistics)
    shown = sum(s.rate_shown * s.views for s in statistics if s.views) / views
    assert all(s.rate_asked == rate for s in statistics)
    assert shown == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / views))


def test_the_rate_of_pieces_is_the_rate_asked():
    drawn = lengths_batches(Mixture.pieces(rate=0.7))
    statistics = [drawn.statistics(step) for step in range(drawn.steps)]
    views = sum(s.views for s in statistics)
    assert views > 2 * sum(s.documents_started for s in statistics)
    shown = sum(s.rate_shown * s.views for s in statistics) / views
    assert shown == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / views))


def test_the_rate_follows_its_schedule_and_pairs_end_with_the_warm_up():
    drawn = lengths_batches(Mixture(shuffle_block_steps=5), steps=200, contexts_per_step=200)
    statistics = [drawn.statistics(step) for step in range(drawn.steps)]
    for first, end in ((0, 20), (20, 40), (40, 200)):
        part = statistics[first:end]
        views = sum(s.views for s in part)
        shown = sum(s.rate_shown * s.views for s in part) / views
        asked = sum(s.rate_asked * s.views for s in part) / views
        assert shown == pytest.approx(asked, abs=4 * np.sqrt(0.24 / views))
    assert all(s.pairs > 0 for s in statistics[:40])
    # The last split pair may run on into the first block after the warm-up.
    assert sum(s.pairs for s in statistics[45:]) == 0


@pytest.mark.parametrize(
    ("order", "low", "high"), [("rc", 1, 1), ("cr", 0, 0), ("random", 0.4, 0.6)]
)
def test_pairs_stand_in_the_order_asked_for(order: Any, low: float, high: float):
    mixing = Mixture(
        rate=ConstantRate(rate=0.5),
        granularity=DocumentGranularity(pairing=AlwaysPairs(order=order)),
    )
    spans = lengths_batches(mixing).plan.block_of(0).spans
    starts = spans[spans["marks"] & STARTS_DOCUMENT != 0]
    assert len(starts) > 500
    assert low <= (starts["format"] == RAW).mean() <= high


def test_split_pairs_always_meet():
    mixing = Mixture(
        rate=ConstantRate(rate=0.5), granularity=DocumentGranularity(pairing=AlwaysPairs())
    )
    split = [lengths_batches(mixing).statistics(step) for step in range(20)]
    assert sum(s.pairs for s in split) > 1000
    assert all(s.pairs == s.pairs_in_one_context for s in split)
    cut = mixing.model_copy(
        update={"granularity": DocumentGranularity(pairing=AlwaysPairs(), pair_overflow="cut")}
    )
    statistics = [lengths_batches(cut).statistics(step) for step in range(20)]
    assert sum(s.pairs_in_one_context for s in statistics) < sum(s.pairs for s in statistics)
    # Splitting pays with padding.
    assert sum(s.padding for s in statistics) < sum(s.padding for s in split)


def test_a_choice_depends_on_seed_source_epoch_and_document_alone():
    mixing = Mixture.samples(rate=0.5)

    def choices(**changes: Any) -> dict[tuple[int, int, int], int]:
        drawn = lengths_batches(mixing, steps=60, **changes)
        spans = np.concatenate([drawn.plan.block_of(step).spans for step in range(60)])
        starts = spans[spans["marks"] & STARTS_DOCUMENT != 0]
        return {
            (int(s["source"]), int(s["draw"]) // 20_000, int(s["ordinal"])): int(s["format"])
            for s in starts
        }

    one, other = choices(context=512), choices(context=1000, contexts_per_step=30)
    common = one.keys() & other.keys()
    assert len(common) > 500
    assert all(one[key] == other[key] for key in common)
    assert {COMPRESSED, RAW} == {one[key] for key in common}
    different = choices(context=512, seed=1)
    shared = one.keys() & different.keys()
    assert np.mean([one[key] == different[key] for key in shared]) < 0.7


# --- sources and epochs


def test_every_training_document_comes_once_an_epoch_and_held_out_ones_never():
    mixing = MIXTURES["paper"].model_copy(update={"shuffle_block_steps": 100})
    drawn = small_batches(mixing, steps=600)
    firsts = edges_of(600, mixing)[:-1]
    spans = np.concatenate([drawn.plan.block_of(int(step)).spans for step in firsts])
    starts = spans[spans["marks"] & STARTS_DOCUMENT != 0]
    for source in (0, 1):
        training = drawn.plan.tables.documents_of(source)["ordinal"].tolist()
        order = starts["ordinal"][starts["source"] == source].tolist()
        assert len(training) < (40, 150)[source]
        epochs = len(order) // len(training)
        assert epochs >= 1
        for epoch in range(epochs):
            seen = order[epoch * len(training) : (epoch + 1) * len(training)]
            assert sorted(seen) == training
        assert order[: len(training)] != training


@pytest.mark.parametrize("weight_of", ["documents", "bytes"])
def test_sources_are_drawn_by_weight(weight_of: Any):
    generator = np.random.default_rng(0)
    short = lengths_store(1 + generator.exponential(100, 4000).astype(np.int64), rho=3)
    long = lengths_store(1 + generator.exponential(1000, 4000).astype(np.int64), rho=3)
    mixing = Mixture.bytes_only().model_copy(update={"weight_of": weight_of})
    drawn = unchecked_batches(
        [short, long], mixing, context=256, contexts_per_step=100, steps=80, weights=[3, 1]
    )
    spans = drawn.plan.block_of(0).spans
    starts = spans[spans["marks"] & STARTS_DOCUMENT != 0]
    if weight_of == "documents":
        share = (starts["source"] == 0).mean()
    else:
        share = spans["num_bytes"][spans["source"] == 0].sum() / spans["num_bytes"].sum()
    assert share == pytest.approx(0.75, abs=0.03)


def test_a_source_of_weight_zero_is_never_drawn():
    stores = [memory_store(random_documents(20, mean_bytes=80), shard_sizes=[20])] * 3
    drawn = unchecked_batches(
        stores,
        Mixture.bytes_only(),
        context=64,
        contexts_per_step=4,
        steps=50,
        weights=[0.0, 2.0, 0.0],
    )
    spans = drawn.plan.block_of(0).spans
    assert set(spans["source"][spans["num_bytes"] > 0].tolist()) == {1}


@pytest.mark.parametrize("weight_of", ["documents", "bytes"])
@pytest.mark.parametrize("scale", [1e-300, 1e308])
def test_only_the_proportions_of_weights_count(weight_of: Any, scale: float):
    stores = [lengths_store(np.full(50, length), rho=3) for length in (100, 100)]
    mixing = Mixture.bytes_only().model_copy(update={"weight_of": weight_of})
    sizes: Any = {"context": 64, "contexts_per_step": 4, "steps": 2}
    ours, plain = (
        unchecked_batches(stores, mixing, weights=weights, **sizes).plan.block_of(0).spans
        for weights in ([scale, scale], [1.0, 1.0])
    )
    np.testing.assert_array_equal(ours, plain)


def test_epochs_are_counted_per_source():
    drawn = small_batches(MIXTURES["paper"], steps=60)
    epochs = np.array([drawn.statistics(step).epochs for step in range(60)])
    assert (np.diff(epochs, axis=0) >= 0).all()
    starts: Counter[int] = Counter()
    for step in range(60):
        block = drawn.plan.block_of(step)
        packed = (step * 6 - block.first_context, (step + 1) * 6 - block.first_context)
        spans = block.spans[block.first_span[packed[0]] : block.first_span[packed[1]]]
        starts.update(spans["source"][spans["marks"] & STARTS_DOCUMENT != 0].tolist())
        for source in (0, 1):
            training = len(drawn.plan.tables.documents_of(source))
            assert epochs[step, source] == pytest.approx(starts[source] / training)


def test_raw_bytes_add_up_over_an_epoch_in_every_granularity():
    documents = random_documents(60, mean_bytes=150)
    total = sum(len(document.raw) for document in documents if not document.held_out)
    for name in ("paper", "pieces", "cut, plain"):
        mixing = MIXTURES[name].model_copy(update={"when_exhausted": "stop"})
        drawn = unchecked_batches(
            [memory_store(documents, shard_sizes=[60])],
            mixing,
            context=48,
            contexts_per_step=1,
            steps=100_000,
        )
        assert 50 < drawn.steps < 100_000
        counted = sum(drawn.statistics(step).raw_bytes for step in range(drawn.steps))
        assert counted == total


# --- data that ends


def test_stop_ends_with_the_first_source_that_has_no_more():
    drawn = small_batches(MIXTURES["stop"], steps=10_000)
    assert 5 < drawn.steps < 10_000
    spans = drawn.plan.block_of(drawn.steps - 1).spans
    most = [spans["draw"][spans["source"] == source].max() + 1 for source in (0, 1)]
    training = [len(drawn.plan.tables.documents_of(source)) for source in (0, 1)]
    assert most[0] <= training[0] and most[1] <= training[1]
    with pytest.raises(DataError, match=f"holds {drawn.steps} steps"):
        drawn.batch(drawn.steps)
    with pytest.raises(DataError, match="step -1"):
        drawn.batch(-1)


def test_rounding_leaves_no_draw_to_a_source_of_weight_0():
    shares = np.array([0.1] * 10 + [0.0])
    assert np.cumsum(shares)[-1] < 1
    assert make_draws(mixture_numbers(Mixture(), 1), shares, 0).source_below[9:].tolist() == [1, 1]


def test_stop_changes_nothing_before_the_end():
    stopping, repeating = (
        small_batches(MIXTURES["stop"]),
        small_batches(MIXTURES["stop"].model_copy(update={"when_exhausted": "repeat"})),
    )
    assert stopping.steps > 5
    assert arrays(stopping.batch(0)) == arrays(repeating.batch(0))
    assert arrays(stopping.batch(3)) == arrays(repeating.batch(3))
