"""What ``proxylm rates`` predicts for a loader, against the loader's own plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from memory_store import unchecked_batches

from proxylm.data.lengths import lengths_store
from proxylm.data.mixture import AlwaysPairs, ConstantRate, DocumentGranularity, Mixture
from proxylm.data.packing.spans import STARTS_DOCUMENT
from proxylm.data.prediction import DataSize, documents_per_context

DOCUMENTS = 200_000
RHO = 3.7


def pairs(rate: float, pair_overflow: Any = "split") -> Mixture:
    return Mixture(
        rate=ConstantRate(rate=rate),
        granularity=DocumentGranularity(pairing=AlwaysPairs(), pair_overflow=pair_overflow),
    )


MIXTURES = {
    "bytes": Mixture.bytes_only(),
    "compressed": Mixture.compressed_only(),
    "mixed": Mixture.samples(rate=0.9),
    "paper": Mixture.paper(),
    "pairs": pairs(0.9),
    "pairs, mostly raw": pairs(0.3),
    "pairs, cut": pairs(0.3, "cut"),
    "pieces": Mixture.pieces(),
    "pieces, half raw": Mixture.pieces(rate=0.5),
    "plain": Mixture(overflow="plain"),
    "no sentinels": Mixture(sentinels=False),
}


def lengths(mean: float, kind: str) -> np.ndarray:
    generator = np.random.default_rng(0)
    shape = {"lognormal": generator.lognormal(0, 1, DOCUMENTS)}
    values = shape.get(kind, generator.exponential(1, DOCUMENTS))
    return np.maximum(1, values * mean / values.mean()).astype(np.int64)


def planned(mixing: Mixture, num_bytes: np.ndarray, context: int, steps: int) -> float:
    """Documents begun per context, counted from the plan of about one epoch."""
    data = DataSize(mean_bytes=float(num_bytes.mean()), rho=RHO)
    expected = documents_per_context(data, mixing, context=context, total_steps=steps).mean()
    contexts_per_step = max(1, int(DOCUMENTS / expected / steps))
    drawn = unchecked_batches(
        [lengths_store(num_bytes, rho=RHO)],
        mixing,
        context=context,
        contexts_per_step=contexts_per_step,
        steps=steps,
    )
    begun = step = 0
    while step < steps:
        block = drawn.plan.block_of(step)
        begun += int((block.spans["marks"] & STARTS_DOCUMENT != 0).sum())
        step += block.num_steps
    return begun / (steps * contexts_per_step)


@pytest.mark.parametrize("name", MIXTURES)
def test_prediction_agrees_with_the_plan_within_one_percent(name: str):
    for mean, kind, context in ((700, "exponential", 512), (5000, "lognormal", 4096)):
        num_bytes = lengths(mean, kind)
        predicted = documents_per_context(
            DataSize(mean_bytes=float(num_bytes.mean()), rho=RHO),
            MIXTURES[name],
            context=context,
            total_steps=50,
        ).mean()
        assert predicted == pytest.approx(planned(MIXTURES[name], num_bytes, context, 50), rel=0.01)


def test_without_overhead_the_prediction_is_appendix_a():
    # Very long documents in very long contexts: specials and cuts vanish.
    data = DataSize(mean_bytes=1e7, rho=RHO)
    mixed = documents_per_context(data, Mixture.samples(rate=0.9), context=1 << 20, total_steps=1)
    raw = documents_per_context(data, Mixture.bytes_only(), context=1 << 20, total_steps=1)
    assert mixed[0] / raw[0] == pytest.approx(2.913, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "mean", "context"), [("bytes", 700, 512), ("paper", 700, 512), ("mixed", 300, 2048)]
)
def test_truncation_is_predicted_for_documents_of_exponential_lengths(
    name: str, mean: int, context: int
):
    mixing = MIXTURES[name].model_copy(update={"overflow": "truncate"})
    num_bytes = lengths(mean, "exponential")
    data = DataSize(mean_bytes=float(num_bytes.mean()), rho=RHO)
    predicted = documents_per_context(data, mixing, context=context, total_steps=50)
    assert predicted.shape == (50,)
    assert predicted.mean() == pytest.approx(planned(mixing, num_bytes, context, 50), rel=0.01)
    # What is dropped leaves room for others.
    continued = documents_per_context(data, MIXTURES[name], context=context, total_steps=50)
    assert predicted.mean() > continued.mean()


def test_of_bytes_that_are_truncated_a_context_begins_as_renewal_theory_says():
    # One at its start, and one more wherever a document has ended before: a Poisson process.
    data = DataSize(mean_bytes=500, rho=1)
    mixing = Mixture.bytes_only(sentinels=False).model_copy(update={"overflow": "truncate"})
    begun = documents_per_context(data, mixing, context=2048, total_steps=1)
    assert begun[0] == pytest.approx(1 + (2048 - 5) / 502, rel=0.01)
