"""What a plan says that a run shows, against what it does show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from proxylm.config import load_config
from proxylm.data.batches import Batches, batches
from proxylm.data.rates import mean_over_steps
from proxylm.errors import UsageError
from proxylm.planning.data import DRAFT_CONTEXTS, LAYOUTS, DataAssumptions, data_use
from proxylm.training.config import TrainingConfig
from small_runs import CONTEXT, SYMBOL_COUNT, make_store, tiny_config

STEPS = 80
DRAFTED = -(-DRAFT_CONTEXTS // STEPS)
"""Contexts of a step in the draft of a run of so many steps."""


def drawn_of(config: TrainingConfig) -> Batches:
    return batches(
        config.data,
        config.mixing,
        context=config.context,
        contexts_per_step=config.contexts_per_step,
        steps=config.total_steps,
    )


@pytest.mark.parametrize(("times", "within"), [(1, 0.0), (4, 0.03)])
def test_a_store_that_is_there_is_counted_as_it_is_shown(
    tmp_path: Path, times: int, within: float
) -> None:
    store = make_store(tmp_path / "store")
    config = tiny_config(store, steps=STEPS, symbols_per_step=times * DRAFTED * CONTEXT)
    drawn = drawn_of(config)
    shown = [drawn.statistics(step) for step in range(STEPS)]
    use = data_use(config, DataAssumptions())
    counts = ("raw_symbols", "compressed_symbols", "special_symbols", "padding", "raw_bytes")
    for name in counts:
        assert getattr(use, name) == pytest.approx(sum(getattr(s, name) for s in shown), rel=within)
    (source,) = use.sources
    assert source.documents == pytest.approx(sum(s.documents_started for s in shown), rel=within)
    assert source.epochs == pytest.approx(shown[-1].epochs[0], rel=0.01)
    assert use.symbol_count == SYMBOL_COUNT
    assert sum(getattr(use, name) for name in counts[:4]) == STEPS * config.symbols_per_step


def test_layouts_are_those_of_contexts(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    config = tiny_config(store, steps=STEPS, symbols_per_step=DRAFTED * CONTEXT)
    drawn, layouts = drawn_of(config), data_use(config, DataAssumptions()).layouts
    assert np.array_equal(layouts[0], drawn.batch(0, count=1).segment_ids[0])
    assert np.array_equal(layouts[-1], drawn.batch(STEPS - 1, count=1).segment_ids[0])
    across = config.mixing.model_copy(update={"cross_document_attention": True})
    layouts = data_use(config.model_copy(update={"mixing": across}), DataAssumptions()).layouts
    assert len(layouts) == LAYOUTS and not layouts.any()


def test_without_a_store_the_rate_of_the_view_decides() -> None:
    config = load_config(TrainingConfig, Path("paper/table1/1.5b-proxy-tokenizer"))
    use = data_use(config, DataAssumptions(mean_bytes=4000, data_bytes=10**11))
    per_symbol = use.raw_bytes / (config.symbols_per_step * config.total_steps)
    # Appendix A counts neither specials nor cuts.
    assert per_symbol == pytest.approx(mean_over_steps(3.7, config.mixing, 50_000), rel=0.02)
    (source,) = use.sources
    assert source.raw_bytes / source.documents == pytest.approx(4000, rel=0.02)
    assert source.epochs == source.raw_bytes / 10**11
    assert use.symbol_count == 96_640


def test_the_documents_of_the_draft_do_not_end_before_the_runs() -> None:
    shown = [
        data_use(
            load_config(
                TrainingConfig,
                Path("paper/table1/1.5b-proxy-tokenizer"),
                ["length.steps=1000", f"mixing.when_exhausted={when}"],
            ),
            DataAssumptions(),
        )
        for when in ("repeat", "stop")
    ]
    assert shown[0].compressed_symbols == shown[1].compressed_symbols
    assert shown[0].sources == shown[1].sources


def test_a_view_that_nothing_is_known_of_has_to_be_described() -> None:
    config = load_config(TrainingConfig, Path("paper/figure5/r0.9"))
    with pytest.raises(UsageError, match=r"stores/python: .* view 'gzip'; give --rho"):
        data_use(config, DataAssumptions())
