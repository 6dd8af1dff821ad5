"""Batches against their definition, over all policies, on random small stores."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from memory_store import MemoryDocument, memory_store, random_documents, unchecked_batches

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
from proxylm.data.packing.definition import PlainBatches

fractions = st.floats(0, 1)
rates = st.one_of(
    st.builds(ConstantRate, rate=fractions),
    st.builds(WarmUpRate, start=fractions, end=fractions, fraction=fractions),
)
orders = st.sampled_from(["rc", "cr", "random"])
pairings = st.one_of(
    st.just(NoPairs()),
    st.builds(WarmUpPairs, order=orders, fraction=fractions),
    st.builds(AlwaysPairs, order=orders),
)
granularities = st.one_of(
    st.builds(
        DocumentGranularity, pairing=pairings, pair_overflow=st.sampled_from(["split", "cut"])
    ),
    st.builds(PieceGranularity, min_symbols=st.integers(1, 5), max_symbols=st.integers(5, 30)),
)
mixtures = st.builds(
    Mixture,
    rate=rates,
    granularity=granularities,
    sentinels=st.booleans(),
    overflow=st.sampled_from(["continue", "plain", "truncate"]),
    shuffle_block_steps=st.integers(1, 5),
    weight_of=st.sampled_from(["documents", "bytes"]),
    when_exhausted=st.sampled_from(["repeat", "stop"]),
)


@st.composite
def documents(draw: Any) -> MemoryDocument:
    raw = draw(st.binary(min_size=1, max_size=60))
    symbols = draw(st.lists(st.integers(0, 9999), min_size=1, max_size=40))
    most = min(len(raw), len(symbols)) - 1
    bytes_at = draw(st.sets(st.integers(1, len(raw) - 1), max_size=most)) if most else set()
    cuts = sorted(bytes_at)
    at = draw(st.permutations(range(1, len(symbols))))[: len(cuts)] if cuts else []
    return MemoryDocument(
        raw=raw,
        symbols=tuple(symbols),
        anchors=tuple(zip(cuts, sorted(at), strict=True)),
        held_out=draw(st.sampled_from([False, False, False, True])),
    )


@st.composite
def stores(draw: Any) -> tuple[list[MemoryDocument], list[int]]:
    """Documents, at least one for training, and the sizes of their shards (0 allowed)."""
    first = draw(documents())
    rest = draw(st.lists(documents(), max_size=8))
    all_documents = [MemoryDocument(**{**first.__dict__, "held_out": False}), *rest]
    cuts = sorted(draw(st.lists(st.integers(0, len(all_documents)), max_size=3)))
    sizes = np.diff([0, *cuts, len(all_documents)]).tolist()
    return all_documents, sizes


def check_equal(sources: list[Any], mixing: Mixture, sizes: dict[str, int]) -> None:
    """Every step equals the definition, and so do its statistics."""
    weights = [1.0, 2.5][: len(sources)]
    # The definition reads them as one shard; symbols are 16 and 32 bits wide.
    counts = [10_000, 100_000]
    stores = [
        [memory_store(docs, shard_sizes=form, symbol_count=count) for form in (None, shards)]
        for (docs, shards), count in zip(sources, counts, strict=False)
    ]
    plain = PlainBatches(
        sources=[(whole, whole.view("v")) for whole, _ in stores],
        mixture=mixing,
        weights=weights,
        total_steps=sizes["steps"],
        **{name: size for name, size in sizes.items() if name != "steps"},
    )
    drawn = unchecked_batches([sharded for _, sharded in stores], mixing, weights=weights, **sizes)
    assert drawn.steps == plain.steps
    for step in range(plain.steps):
        batch = drawn.batch(step)
        packed = plain.training_order(step)
        for row, number in enumerate(packed):
            cells = plain.contexts[number]
            assert batch.inputs[row].tolist() == [cell.symbol for cell in cells]
            assert batch.segment_ids[row].tolist() == [cell.segment for cell in cells]
            assert batch.position_ids[row].tolist() == [cell.position for cell in cells]
            assert batch.targets[row].tolist() == plain.targets(cells)
        check_statistics(plain, drawn.statistics(step), packed)


def check_statistics(plain: PlainBatches, statistics: Any, packed: list[int]) -> None:
    counts = [plain.counts[number] for number in packed if number in plain.counts]
    raw = sum(count.raw_views for count in counts)
    compressed = sum(count.compressed_views for count in counts)
    assert statistics.views == raw + compressed
    if raw + compressed:
        assert statistics.rate_shown == pytest.approx(compressed / (raw + compressed))
    assert statistics.documents_started == sum(count.documents for count in counts)
    assert statistics.pairs == sum(count.pairs for count in counts)
    assert statistics.pairs_in_one_context == sum(c.pairs_in_one_context for c in counts)
    symbols = [cell.symbol for number in packed for cell in plain.contexts[number]]
    assert statistics.raw_symbols == sum(64 <= symbol < 320 for symbol in symbols)
    assert statistics.compressed_symbols == sum(symbol >= 320 for symbol in symbols)
    assert statistics.padding == symbols.count(0)
    assert statistics.special_symbols == sum(0 < symbol < 64 for symbol in symbols)


SMALL_RUNS: dict[str, Any] = {
    "sources": st.lists(stores(), min_size=1, max_size=2),
    "mixing": mixtures,
    "sizes": st.fixed_dictionaries(
        {
            "context": st.integers(16, 48),
            "contexts_per_step": st.integers(1, 3),
            "steps": st.integers(1, 9),
            "heads": st.integers(1, 3),
            "seed": st.integers(0, 2**63 - 1),
        }
    ),
}
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@given(**SMALL_RUNS)
@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
def test_batches_equal_their_definition(sources: Any, mixing: Any, sizes: Any) -> None:
    check_equal(sources, mixing, sizes)


@pytest.mark.long
@pytest.mark.timeout(3000)
@given(**SMALL_RUNS)
@settings(max_examples=5000, deadline=None, suppress_health_check=QUIET)
def test_batches_equal_their_definition_many_times(
    sources: Any, mixing: Mixture, sizes: Any
) -> None:
    check_equal(sources, mixing, sizes)


@pytest.mark.parametrize("overflow", ["continue", "plain", "truncate"])
@pytest.mark.parametrize("kind", ["split", "cut", "pieces"])
def test_larger_runs_equal_their_definition(overflow: Any, kind: str) -> None:
    granularity: Any = PieceGranularity(min_symbols=4, max_symbols=30)
    if kind != "pieces":
        granularity = DocumentGranularity(pairing=WarmUpPairs(fraction=0.5), pair_overflow=kind)
    mixing = Mixture(granularity=granularity, overflow=overflow, shuffle_block_steps=3)
    documents = random_documents(60, mean_bytes=150, seed=4)
    sizes = {"context": 96, "contexts_per_step": 4, "steps": 24, "heads": 2, "seed": 1}
    check_equal([(documents, [20, 0, 40])], mixing, sizes)


@pytest.mark.parametrize("block_steps", [7, 12, 100])
@pytest.mark.parametrize("when_exhausted", ["repeat", "stop"])
def test_a_rate_that_rises_throughout_equals_its_definition(
    block_steps: int, when_exhausted: Any
) -> None:
    mixing = Mixture(
        rate=WarmUpRate(start=0.2, end=0.8, fraction=1.0),
        shuffle_block_steps=block_steps,
        when_exhausted=when_exhausted,
    )
    documents = random_documents(60, mean_bytes=150, seed=4)
    sizes = {"context": 96, "contexts_per_step": 3, "steps": 40, "heads": 1, "seed": 2}
    check_equal([(documents, None)], mixing, sizes)
