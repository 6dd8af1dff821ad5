"""The plan's memory against a trace of the model, FSDP and the optimizer on fake tensors."""

from __future__ import annotations

from typing import Any

import pytest

from memory_trace import trace_step
from proxylm.models.config import ModelConfig
from proxylm.models.presets import PRESETS, preset
from proxylm.planning.memory import Execution, MemoryUse, peak_memory
from proxylm.symbols import vocabulary_size

TOKENIZER_SYMBOLS = vocabulary_size(96_640)
CONTEXTS = {"demo": 16, "byte-lm-tiny": 16, "byte-lm-40m": 16, "laptop": 4, "laptop-causal": 4}
"""Contexts of a pass in the long form: one of the large models'."""


def planned(
    config: ModelConfig, *, ranks: int, shards: int | None = None, **rest: int
) -> MemoryUse:
    """What is planned for the arguments of ``trace_step``."""
    return peak_memory(config, Execution(shard=shards or ranks, alone=ranks == 1, **rest))


@pytest.mark.parametrize(
    ("name", "sizes", "run"),
    [
        ("evabyte-7b", {"vocabulary_size": TOKENIZER_SYMBOLS}, {"ranks": 64, "recomputed": 2}),
        ("evabyte-4b", {}, {"ranks": 64, "shards": 8, "passes": 2}),
        ("opencoder-8b", {}, {"ranks": 8, "recomputed": 1}),
        ("evabyte-1.5b", {"vocabulary_size": TOKENIZER_SYMBOLS}, {"ranks": 1, "recomputed": 1}),
    ],
)
def test_the_plan_is_within_a_tenth_of_the_trace(
    name: str, sizes: dict[str, Any], run: dict[str, Any]
) -> None:
    config = preset(name, layers=2, context=4096, **sizes)
    traced = trace_step(config, **run)
    assert planned(config, **run).total == pytest.approx(traced.peak, rel=0.1)


@pytest.mark.long
@pytest.mark.parametrize("recomputes", [True, False])
@pytest.mark.parametrize("ranks", [1, 8, 64])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_within_a_tenth_of_the_trace(
    name: str, ranks: int, recomputes: bool
) -> None:
    config = preset(name)
    recomputed = config.layers if recomputes else 0
    run: dict[str, Any] = {
        "ranks": ranks,
        "contexts": CONTEXTS.get(name, 1),
        "recomputed": recomputed,
    }
    traced = trace_step(config, **run)
    ratio = planned(config, **run).total / traced.peak
    print(f"{name}, {run}: traced {traced.peak / 1e9:.2f} GB, planned {ratio:.3f} of it")
    assert ratio == pytest.approx(1, rel=0.1)


def test_parts_add_up_and_what_is_shared_shrinks() -> None:
    config = preset("evabyte-7b")
    one, many = (planned(config, ranks=ranks, recomputed=32, passes=2) for ranks in (8, 64))
    assert one.total == sum(one.parts().values())
    for part in ("weights", "optimizer", "gradients"):
        assert one.parts()[part] == pytest.approx(8 * many.parts()[part])
    assert one.weights == 4 * config.parameter_count // 8
    assert one.activations == many.activations


def test_each_recomputed_block_keeps_less() -> None:
    config = preset("evabyte-0.5b")
    totals = [planned(config, ranks=8, recomputed=n).total for n in range(config.layers + 1)]
    assert totals == sorted(totals, reverse=True)
    # Blocks as written keep some 70 bytes per position and channel, recomputed ones 4.
    saved = (totals[0] - totals[1]) / (config.context * config.width)
    assert 60 < saved < 75
