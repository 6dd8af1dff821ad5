"""Batches: any contexts of any step as integer arrays, a pure function of (configuration, step).

``batches`` opens the sources and refuses what cannot work, in one line each. A rank, a worker of a
``DataLoader``, or one pass of gradient accumulation asks for its slice of a step; how a step is
sliced changes nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from proxylm.data.batch import Batch
from proxylm.data.checks import check_columns, check_data, check_one_compressor, check_pair_cuts
from proxylm.data.mixture import Mixture
from proxylm.data.mixture_numbers import mixture_numbers
from proxylm.data.packing.materialize import materialize
from proxylm.data.packing.plan import Plan
from proxylm.data.packing.tables import source_tables
from proxylm.data.reused_memory import ReusedMemory
from proxylm.data.sources import OpenSource, SourceLike, SourceView, data_fingerprint, open_sources
from proxylm.data.statistics import StepStatistics, step_statistics
from proxylm.errors import UsageError
from proxylm.fingerprint import fingerprint_of
from proxylm.symbols import PAD, vocabulary_size

# What a copy in another process makes anew.
_OF_ONE_PROCESS = ("plan", "_memory")


class Batches:
    """Packed contexts of a mixture, step by step; ``batches`` makes one.

    A sequence of ``Batch`` values, one a step. It can be pickled: stores on disk travel by their
    path, those in memory by value, so that ``torch.utils.data.DataLoader(batches,
    batch_size=None, num_workers=2)`` works with workers of any kind.

    Attributes:
        sources: opened, with the views that are shown.
        mixture: how they are mixed.
        context: symbols per context.
        contexts_per_step: contexts per training step, over all ranks.
        heads: prediction heads, each with its own targets.
    """

    def __init__(
        self,
        sources: Sequence[OpenSource],
        mixture: Mixture,
        *,
        context: int,
        contexts_per_step: int,
        total_steps: int,
        heads: int = 1,
        seed: int = 0,
    ):
        self.sources = tuple(sources)
        self.mixture = mixture
        self.context = context
        self.contexts_per_step = contexts_per_step
        self.heads = heads
        self._total_steps = total_steps
        self._seed = seed
        self._memory = ReusedMemory()

    @cached_property
    def plan(self) -> Plan:
        """What stands where."""
        tables = source_tables([(source.store, source.view) for source in self.sources])
        return Plan(
            tables,
            self.mixture,
            [source.weight for source in self.sources],
            context=self.context,
            contexts_per_step=self.contexts_per_step,
            total_steps=self._total_steps,
            seed=self._seed,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _OF_ONE_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _memory=ReusedMemory())

    def __repr__(self) -> str:
        names = ", ".join(source.name for source in self.sources)
        return (
            f"Batches({self.steps} steps of {self.contexts_per_step} contexts of {self.context} "
            f"symbols, from {names})"
        )

    @property
    def steps(self) -> int:
        """Steps there is data for: the run's, or fewer with ``when_exhausted: stop``."""
        return self.plan.steps

    @property
    def symbol_count(self) -> int:
        """K of the sources' one compressor; 0 where the mixture shows no compressed view."""
        numbers = mixture_numbers(self.mixture, self._total_steps)
        if not numbers.shows_compressed:
            return 0
        return next((view.symbol_count for view in self._views()), 0)

    @property
    def vocabulary_size(self) -> int:
        """Size of the shared vocabulary, which a model for these batches needs."""
        return vocabulary_size(self.symbol_count)

    @property
    def compressor_fingerprint(self) -> str | None:
        """Of the sources' one compressor; None where no view is named."""
        return next((view.compressor_fingerprint for view in self._views()), None)

    @property
    def data_fingerprint(self) -> str:
        """Names the sources' documents and their split, in order."""
        return data_fingerprint(source.store for source in self.sources)

    @property
    def fingerprint(self) -> str:
        """Names every integer of every batch: data, compressor, mixture, sizes and seed."""
        numbers = mixture_numbers(self.mixture, self._total_steps)
        return fingerprint_of(
            self.data_fingerprint,
            self.compressor_fingerprint,
            [source.weight for source in self.sources],
            self.mixture.model_dump(mode="json"),
            numbers.fingerprint,
            [self.context, self.contexts_per_step, self._total_steps, self.heads, self._seed],
        )

    def _views(self) -> Iterator[SourceView]:
        return (source.view for source in self.sources if source.view is not None)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        return (self.batch(step) for step in range(self.steps))

    def __getitem__(self, step: int) -> Batch:
        if not -self.steps <= operator.index(step) < self.steps:
            raise IndexError(f"step {step}: there are {self.steps}, numbered from 0")
        return self.batch(step % self.steps)

    def batch(self, step: int, *, first: int = 0, count: int | None = None) -> Batch:
        """Contexts ``first`` to ``first + count`` (default: all) of a step, from 0.

        Args:
            step: in ``[0, steps)``.
            first: first context of the slice, counted inside the step.
            count: contexts in the slice, at least 1; None for all from ``first`` on.

        Raises:
            DataError: there is no such step, or the data ends before it.
            UsageError: the slice is not in the step, or the sources are lengths alone.
        """
        step, first = operator.index(step), operator.index(first)
        count = self.contexts_per_step - first if count is None else operator.index(count)
        if not (first >= 0 and count >= 1 and first + count <= self.contexts_per_step):
            raise UsageError(
                f"contexts {first} to {first + count} of a step: it has {self.contexts_per_step}, "
                "from 0; ask for at least one of them"
            )
        if not self.plan.tables.has_content:
            raise UsageError("these sources are lengths alone: they can be counted, not shown")
        block = self.plan.block_of(step)
        batch = self._empty(count)
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
        if self.mixture.cross_document_attention:
            _join_segments(batch)
        return batch

    def statistics(self, step: int) -> StepStatistics:
        """What a step shows: rates, pairs, epochs, bytes, symbols per format.

        Raises:
            DataError: there is no such step, or the data ends before it.
        """
        return step_statistics(self.plan, self.plan.block_of(step), step)

    def _empty(self, count: int) -> Batch:
        shape = (count, self.context)
        inputs, targets, segment_ids, position_ids = self._memory.arrays(
            [shape, (*shape, self.heads), shape, shape]
        )
        return Batch(
            inputs=inputs,
            targets=targets,
            segment_ids=segment_ids,
            position_ids=position_ids,
            contexts=np.empty(count, np.int64),
            batches=self,
        )


def _join_segments(batch: Batch) -> None:
    """Make one attention segment of all documents of a context; padding, at its end, is another."""
    batch.segment_ids[:] = batch.inputs == PAD
    size = (~batch.segment_ids.astype(bool)).sum(axis=1, keepdims=True)
    place = np.arange(batch.inputs.shape[1])
    batch.position_ids[:] = np.where(place < size, place, place - size)


def batches(
    sources: SourceLike | Sequence[SourceLike],
    mixture: Mixture = Mixture(),  # noqa: B008, it is frozen
    *,
    context: int,
    contexts_per_step: int,
    steps: int,
    heads: int = 1,
    seed: int = 0,
) -> Batches:
    """Mix documents and pack them into contexts (method, section 4).

    Args:
        sources: what ``px.prepare`` gives, the folder of a view store, a ``Source``, or a list of
            those.
        mixture: how they are mixed and packed; the paper's schedule by default.
        context: symbols per context, at least 16.
        contexts_per_step: contexts per training step, over all ranks.
        steps: steps of the run; the schedules' fractions refer to it.
        heads: prediction heads, each with its own targets.
        seed: of all draws, in ``[0, 2^63)``.

    Returns:
        One ``Batch`` a step: int32 arrays ``[contexts_per_step, context]`` and, for the targets,
        ``[contexts_per_step, context, heads]``.

    Raises:
        UsageError: the settings do not fit the data, or a view has to be named.
        DataError: a store cannot be used, or the sources have different compressors.

    >>> from proxylm.data.memory import MemoryStore
    >>> store = MemoryStore.of(["a"], [b"some text " * 20], {}, [False])
    >>> drawn = batches(store, Mixture.bytes_only(), context=32, contexts_per_step=2, steps=3)
    >>> len(drawn), drawn.vocabulary_size, drawn[0]
    (3, 320, Batch(2 contexts of 32 symbols, 1 heads; contexts 0 to 1))
    >>> drawn[0].inputs[0, :7].tolist()  # <bos> <raw> s o m e
    [1, 12, 179, 175, 173, 165, 96]
    """
    for name, value, least in (
        ("contexts_per_step", contexts_per_step, 1),
        ("steps", steps, 1),
        ("heads", heads, 1),
        ("seed", seed, 0),
    ):
        if not least <= value < 1 << 63:
            raise UsageError(f"{name} {value}: must be from {least} to 2^63 - 1")
    numbers = mixture_numbers(mixture, steps)
    opened = open_sources(sources, needs_compressed=numbers.needs_compressed)
    check_one_compressor(opened)
    check_columns(opened)
    check_pair_cuts(opened, numbers)
    check_data(opened, context)
    return Batches(
        opened,
        mixture,
        context=context,
        contexts_per_step=contexts_per_step,
        total_steps=steps,
        heads=heads,
        seed=seed,
    )
