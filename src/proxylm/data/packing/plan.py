"""The plan: which part of which document stands where in which context, from lengths alone.

Three numberings meet here. *Packing order* numbers contexts as the kernel fills them; a step is
``contexts_per_step`` of them, and a document's draws use the rate of the step where it begins.
*Shuffle blocks* of steps are planned one at a time (memory is bounded by a block). Inside a block
the contexts are permuted, which gives the *order of training*.

Everything is a pure function of (configuration, step). Any step is reached by replaying lengths
from the nearest earlier block whose starting state is known.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from proxylm.data.mixture import Mixture
from proxylm.data.mixture_numbers import MixtureNumbers, mixture_numbers
from proxylm.data.packing.counter import WORD, Purpose, absorb, permutation, purpose_key
from proxylm.data.packing.kernel import pack
from proxylm.data.packing.spans import (
    CONTEXT,
    SEGMENT,
    SPAN_COUNT,
    SPAN_DTYPE,
    TAKEN,
    Ahead,
    Draws,
    Page,
    Rules,
)
from proxylm.data.packing.tables import SourceTables
from proxylm.data.rates import view_shares
from proxylm.errors import DataError

BLOCKS_KEPT = 2
"""Planned blocks in memory: the one in use and its neighbour, for readers that run ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffleBlock:
    """The plan of one block of steps.

    Attributes:
        first_step, num_steps: the steps it holds.
        first_context: packing number of its first context.
        spans: ``SPAN_DTYPE``, by context and offset.
        first_span: int64 ``[contexts + 1]``, where each context's spans start.
        order: int64 ``[contexts]``; place ``p`` in the order of training holds context
            ``first_context + order[p]`` of the packing order.
        taken_before: int64 ``[sources]``, documents each source had given before this block.
    """

    first_step: int
    num_steps: int
    first_context: int
    spans: NDArray[np.void]
    first_span: NDArray[np.int64]
    order: NDArray[np.int64]
    taken_before: NDArray[np.int64]

    def contexts_of(self, step: int) -> NDArray[np.int64]:
        """Contexts of a step in the order of training, counted inside the block."""
        per_step = len(self.order) // self.num_steps
        first = (step - self.first_step) * per_step
        return self.order[first : first + per_step]

    def spans_of(self, context: int) -> NDArray[np.void]:
        """Spans of one context of the block, from left to right."""
        return self.spans[self.first_span[context] : self.first_span[context + 1]]


class Plan:
    """Plans contexts from the lengths in ``tables``.

    Args:
        tables: training documents of all sources.
        mixture: how they are mixed.
        weights: one per source, not all zero.
        context: symbols per context.
        contexts_per_step: contexts per training step.
        total_steps: steps of the run, which the schedules refer to.
        seed: of all draws, at least 0.
    """

    def __init__(
        self,
        tables: SourceTables,
        mixture: Mixture,
        weights: Sequence[float],
        *,
        context: int,
        contexts_per_step: int,
        total_steps: int,
        seed: int,
    ):
        self.tables = tables
        self.total_steps = total_steps
        self.contexts_per_step = contexts_per_step
        numbers = mixture_numbers(mixture, total_steps)
        self.rates = numbers.rates
        self._stops = mixture.stops
        self._edges = block_edges(numbers, mixture.shuffle_block_steps)
        self._order_key = WORD(purpose_key(WORD(seed), int(Purpose.CONTEXT_ORDER), 0))
        probabilities = source_probabilities(tables, weights, mixture)
        self._rules = make_rules(mixture, numbers, context, contexts_per_step)
        self._draws = make_draws(numbers, probabilities, seed)
        self._start = np.zeros(TAKEN + len(weights), np.int64)
        self._start[SEGMENT] = -1
        self._states = [self._start]
        self._span_capacity = 1024
        self._lock = threading.RLock()
        self._block = lru_cache(maxsize=BLOCKS_KEPT)(self._plan_block)

    @cached_property
    def steps(self) -> int:
        """Steps there is data for: all, or with ``when_exhausted: stop`` the complete ones."""
        if not self._stops:
            return self.total_steps
        cursor = self._start.copy()
        is_exhausted = self._forward(cursor, self._first_context(len(self._edges) - 1))
        if not is_exhausted:
            return self.total_steps
        return int(cursor[CONTEXT]) // self.contexts_per_step

    def block_of(self, step: int) -> ShuffleBlock:
        """The planned block that holds a step.

        Raises:
            DataError: the step is not in ``[0, steps)``.
        """
        if not 0 <= step < self.steps:
            raise DataError(
                f"step {step}: the training data holds {self.steps} steps of "
                f"{self.contexts_per_step} contexts; train for fewer, or set "
                "mixing.when_exhausted to repeat"
            )
        # One thread may prepare batches while another asks for statistics.
        with self._lock:
            return self._block(int(np.searchsorted(self._edges, step, side="right")) - 1)

    def forget(self) -> None:
        """Drop planned blocks and known states; what is asked for next is planned anew."""
        with self._lock:
            self._block.cache_clear()
            del self._states[1:]

    def _first_context(self, block: int) -> int:
        return int(self._edges[block]) * self.contexts_per_step

    def _state_before(self, block: int) -> NDArray[np.int64]:
        while len(self._states) <= block:
            state = self._states[-1].copy()
            self._forward(state, self._first_context(len(self._states)))
            self._states.append(state)
        return self._states[block].copy()

    def _plan_block(self, block: int) -> ShuffleBlock:
        first_context = self._first_context(block)
        num_steps = min(int(self._edges[block + 1]), self.steps) - int(self._edges[block])
        num_contexts = num_steps * self.contexts_per_step
        cursor = self._state_before(block)
        taken_before = cursor[TAKEN:].copy()
        spans = self._pack(cursor, first_context, first_context + num_contexts)
        if len(self._states) == block + 1 and not self._stops:
            cursor[SPAN_COUNT] = 0
            self._states.append(cursor)
        contexts = np.arange(first_context, first_context + num_contexts + 1)
        key = WORD(absorb(self._order_key, WORD(self._edges[block])))
        return ShuffleBlock(
            first_step=int(self._edges[block]),
            num_steps=num_steps,
            first_context=first_context,
            spans=spans,
            first_span=np.searchsorted(spans["context"], contexts),
            order=permutation(num_contexts, key),
            taken_before=taken_before,
        )

    def _forward(self, cursor: NDArray[np.int64], end: int) -> bool:
        """Move the cursor to a context without planning; True if the data ended before it."""
        return self._lay(Page(end, end, cursor, np.empty(0, SPAN_DTYPE)))

    def _pack(self, cursor: NDArray[np.int64], first: int, end: int) -> NDArray[np.void]:
        """Move the cursor to ``end``; returns the spans of contexts from ``first`` on."""
        start = cursor.copy()
        while True:
            spans = np.empty(self._span_capacity, SPAN_DTYPE)
            self._lay(Page(first, end, cursor, spans))
            needed = int(cursor[SPAN_COUNT])
            if needed <= len(spans):
                return spans[:needed]
            # Too short a guess: the pass is cheap and pure, so it is simply made again.
            self._span_capacity = needed + needed // 8
            cursor[:] = start

    def _lay(self, page: Page) -> bool:
        ahead = Ahead.empty(len(self.tables.tables.sources))
        return pack(self._rules, self._draws, self.tables.tables, ahead, page)


def block_edges(numbers: MixtureNumbers, shuffle_block_steps: int) -> NDArray[np.int64]:
    """First steps of the blocks, and the run's number of steps at the end.

    A block never crosses the end of a warm-up: shuffling must not carry pairs, or the rising
    rate, into the part of the run that has neither.

    >>> block_edges(mixture_numbers(Mixture(), 1000), 150)
    array([   0,  150,  200,  350,  500,  650,  800,  950, 1000])
    """
    total_steps = len(numbers.rates)
    starts = sorted({0, total_steps, numbers.steps_with_pairs, *numbers.phase_ends})
    blocks = [
        np.arange(first, end, shuffle_block_steps) for first, end in itertools.pairwise(starts)
    ]
    return np.concatenate([*blocks, [total_steps]]).astype(np.int64)


def source_probabilities(
    tables: SourceTables, weights: Sequence[float], mixture: Mixture
) -> NDArray[np.float64]:
    """Probability that a sample comes from each source: float64 ``[sources]``, sum 1."""
    # Over the largest, so that the sum of weights near the end of the range stays finite.
    shares = np.asarray(weights, np.float64) / max(weights)
    if mixture.weighs_bytes:
        for source in np.flatnonzero(shares):
            shares[source] /= tables.documents_of(int(source))["num_bytes"].mean()
    return shares / shares.sum()


def make_rules(
    mixture: Mixture, numbers: MixtureNumbers, context: int, contexts_per_step: int
) -> Rules:
    """The mixture's numbers, for the packing kernel."""
    piece_min, piece_max = numbers.piece_symbols or (0, 0)
    return Rules(
        context=context,
        contexts_per_step=contexts_per_step,
        sentinels=mixture.sentinels,
        rewraps=mixture.rewraps,
        truncates=mixture.truncates,
        stops=mixture.stops,
        splits_pairs=numbers.splits_pairs,
        compressed_first=numbers.compressed_first,
        piece_min=piece_min,
        piece_max=piece_max,
    )


def make_draws(numbers: MixtureNumbers, probabilities: NDArray[np.float64], seed: int) -> Draws:
    """Where draws start, and the thresholds that the schedule gives at every step."""
    shares = view_shares(numbers.rates, numbers.has_pairs)
    return Draws(
        keys=_purpose_keys(seed, len(probabilities)),
        source_below=_thresholds(probabilities),
        compressed_below=shares.compressed,
        pair_below=shares.compressed + shares.pair,
    )


def _thresholds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    thresholds = np.cumsum(probabilities)
    # Rounding must not leave a gap below 1 that would fall to a source of weight 0.
    thresholds[np.flatnonzero(probabilities)[-1] :] = 1.0
    return thresholds


def _purpose_keys(seed: int, sources: int) -> NDArray[np.uint64]:
    keys = np.zeros((max(Purpose) + 1, sources), np.uint64)
    for purpose in Purpose:
        for source in range(sources):
            keys[purpose, source] = purpose_key(WORD(seed), int(purpose), source)
    return keys
