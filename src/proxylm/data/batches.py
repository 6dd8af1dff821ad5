"""The loader: any contexts of any step as integer arrays, a pure function of (configuration, step).

``build_loader`` opens the sources and refuses what cannot work, in one line each. A rank, or one
pass of gradient accumulation, asks for its slice of a step; how a step is sliced changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from proxylm.data.batch import Batch
from proxylm.data.checks import check_data, check_pair_cuts, check_views
from proxylm.data.mixture import MixingConfig, SourceConfig, check_sources
from proxylm.data.packing.materialize import materialize
from proxylm.data.packing.plan import Block, Plan
from proxylm.data.packing.tables import source_tables
from proxylm.data.statistics import StepStatistics, step_statistics
from proxylm.data.store.store import ViewStore
from proxylm.errors import DataError


class Loader:
    """Packed contexts of a mixture.

    Attributes:
        plan: what stands where.
        context, contexts_per_step, heads: sizes of the batches.
        symbol_count: K of the compressor; 0 where no source has a view.
        compressor_fingerprint: of the one compressor of all sources; None without one.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        context: int,
        contexts_per_step: int,
        heads: int,
        symbol_count: int = 0,
        compressor_fingerprint: str | None = None,
    ):
        self.plan = plan
        self.context = context
        self.contexts_per_step = contexts_per_step
        self.heads = heads
        self.symbol_count = symbol_count
        self.compressor_fingerprint = compressor_fingerprint

    @property
    def steps(self) -> int:
        """Steps there is data for: the run's, or fewer with ``when_exhausted: stop``."""
        return self.plan.steps

    def __len__(self) -> int:
        """As ``steps``."""
        return self.steps

    def batch(
        self, step: int, *, first: int = 0, count: int | None = None, out: Batch | None = None
    ) -> Batch:
        """Contexts ``first`` to ``first + count`` (default: all) of a step, from 0.

        Args:
            step: in ``[0, steps)``.
            first: first context of the slice, counted inside the step.
            count: contexts in the slice; None for all from ``first`` on.
            out: arrays of those shapes to write into, returned as they are.

        Raises:
            DataError: the data ends before that step (``when_exhausted: stop``).
        """
        count = self.contexts_per_step - first if count is None else count
        assert first >= 0 and count > 0 and first + count <= self.contexts_per_step
        block = self._block_of(step)
        batch = out or self._empty(count)
        batch.contexts[:] = step * self.contexts_per_step + np.arange(first, first + count)
        materialize(
            block.spans,
            block.first_span,
            block.contexts_of(step)[first : first + count],
            self.plan.tables.tables,
            batch.inputs,
            batch.targets,
            batch.segment_ids,
            batch.position_ids,
        )
        return batch

    def statistics(self, step: int) -> StepStatistics:
        """What a step shows: rates, pairs, epochs, bytes, symbols per format."""
        return step_statistics(self.plan, self._block_of(step), step)

    def _block_of(self, step: int) -> Block:
        if not 0 <= step < self.steps:
            raise DataError(
                f"step {step}: the training data holds {self.steps} steps of "
                f"{self.contexts_per_step} contexts; train for fewer, or set "
                "mixing.when_exhausted to repeat"
            )
        return self.plan.block_of(step)

    def _empty(self, count: int) -> Batch:
        shape = (count, self.context)
        return Batch(
            inputs=np.empty(shape, np.int32),
            targets=np.empty((*shape, self.heads), np.int32),
            segment_ids=np.empty(shape, np.int32),
            position_ids=np.empty(shape, np.int32),
            contexts=np.empty(count, np.int64),
        )


def build_loader(
    sources: Sequence[SourceConfig],
    mixing: MixingConfig,
    *,
    context: int,
    contexts_per_step: int,
    total_steps: int,
    heads: int = 1,
    seed: int = 0,
) -> Loader:
    """Open the sources and build their loader.

    Args:
        sources: view stores, their views and weights.
        mixing: how they are mixed and packed.
        context: symbols per context.
        contexts_per_step: contexts per training step, over all ranks.
        total_steps: steps of the run; the schedules' fractions refer to it.
        heads: prediction heads, each with its own targets.
        seed: of all draws.

    Raises:
        ProxylmError: a source cannot be used, or the settings do not fit the data.
    """
    check_sources(sources)
    stores = [ViewStore.open(Path(source.store)) for source in sources]
    views = [
        store.view(source.view) if source.view is not None else None
        for store, source in zip(stores, sources, strict=True)
    ]
    check_views(sources, views, mixing, total_steps)
    check_pair_cuts(sources, views, mixing, total_steps)
    tables = source_tables(list(zip(stores, views, strict=True)))
    check_data(sources, tables, context)
    plan = Plan(
        tables,
        mixing,
        [source.weight for source in sources],
        context=context,
        contexts_per_step=contexts_per_step,
        total_steps=total_steps,
        seed=seed,
    )
    view = next((view for view in views if view is not None), None)
    return Loader(
        plan,
        context=context,
        contexts_per_step=contexts_per_step,
        heads=heads,
        symbol_count=view.symbol_count if view else 0,
        compressor_fingerprint=view.compressor_fingerprint if view else None,
    )
