"""The plan: which part of which document stands where in which context, from lengths alone.

Three numberings meet here. *Packing order* numbers contexts as the kernel fills them; a step is
``contexts_per_step`` of them. *Blocks* of steps are planned one at a time (memory is bounded by a
block). Inside a block the contexts are put into the *order of training*: shuffled where the rate
is one and the same, laid in lanes (``packing.lanes``) where it varies. A document's draws use the
rate of the step that shows the context where it begins.

Everything is a pure function of (configuration, step). Any step is reached by replaying lengths
from the nearest earlier block whose starting state is known.
"""

from __future__ import annotations

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
from proxylm.data.packing.lanes import lane_order
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
class PlannedBlock:
    """The plan of one block of steps.

    Attributes:
        first_step, num_steps: the steps it holds.
        first_context: packing number of its first context.
        spans: ``SPAN_DTYPE``, by context and offset.
        first_span: int64 ``[contexts + 1]``, where each context's spans start.
        order: int64 ``[contexts]``; place ``p`` in the order of training holds context
            ``first_context + order[p]`` of the packing order.
        rates: float64 ``[contexts]``, in packing order: what each context was packed at.
        taken_before: int64 ``[sources]``, documents each source had given before this block.
    """

    first_step: int
    num_steps: int
    first_context: int
    spans: NDArray[np.void]
    first_span: NDArray[np.int64]
    order: NDArray[np.int64]
    rates: NDArray[np.float64]
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
        self._edges = numbers.edges
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
        with self._lock:
            while True:
                cursor = self._start.copy()
                if not self._forward(cursor, self._first_context(len(self._edges) - 1)):
                    return self.total_steps
                steps = int(cursor[CONTEXT]) // self.contexts_per_step
                if steps == self.total_steps or not self._draws.block_steps[steps]:
                    return steps
                # Lanes that the data does not fill would leave each of their steps incomplete.
                block = self._block_at(steps)
                self._draws.block_steps[self._edges[block] : self._edges[block + 1]] = 0

    def block_of(self, step: int) -> PlannedBlock:
        """The planned block that holds a step.

        Raises:
            DataError: the step is not in ``[0, steps)``.
        """
        if not 0 <= step < self.steps:
            raise DataError(self._no_such_step(step))
        # One thread may prepare batches while another asks for statistics.
        with self._lock:
            return self._block(self._block_at(step))

    def _no_such_step(self, step: int) -> str:
        size = f"{self.steps} steps of {self.contexts_per_step} contexts"
        if self.steps < self.total_steps and step >= self.steps:
            what_helps = "train for fewer, or set mixing.when_exhausted to repeat"
            return f"step {step}: the training data holds {size}; {what_helps}"
        return f"step {step}: these are {size}, numbered from 0"

    def forget(self) -> None:
        """Drop planned blocks and known states; what is asked for next is planned anew."""
        with self._lock:
            self._block.cache_clear()
            del self._states[1:]

    def _block_at(self, step: int) -> int:
        return int(np.searchsorted(self._edges, step, side="right")) - 1

    def _first_context(self, block: int) -> int:
        return int(self._edges[block]) * self.contexts_per_step

    def _state_before(self, block: int) -> NDArray[np.int64]:
        while len(self._states) <= block:
            state = self._states[-1].copy()
            self._forward(state, self._first_context(len(self._states)))
            self._states.append(state)
        return self._states[block].copy()

    def _plan_block(self, block: int) -> PlannedBlock:
        first_context, first_step = self._first_context(block), int(self._edges[block])
        num_steps = min(int(self._edges[block + 1]), self.steps) - first_step
        num_contexts = num_steps * self.contexts_per_step
        cursor = self._state_before(block)
        taken_before = cursor[TAKEN:].copy()
        spans = self._pack(cursor, first_context, first_context + num_contexts)
        if len(self._states) == block + 1 and not self._stops:
            cursor[SPAN_COUNT] = 0
            self._states.append(cursor)
        contexts = np.arange(first_context, first_context + num_contexts + 1)
        order, rates = self._ordered(first_step, num_steps)
        return PlannedBlock(
            first_step=first_step,
            num_steps=num_steps,
            first_context=first_context,
            spans=spans,
            first_span=np.searchsorted(spans["context"], contexts),
            order=order,
            rates=rates,
            taken_before=taken_before,
        )

    def _ordered(
        self, first_step: int, num_steps: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The order of training of a block's contexts, and the rates that they are packed at."""
        rates = self.rates[first_step : first_step + num_steps].repeat(self.contexts_per_step)
        if not self._draws.block_steps[first_step]:
            key = WORD(absorb(self._order_key, WORD(first_step)))
            return permutation(len(rates), key), rates
        order = lane_order(num_steps, self.contexts_per_step)
        packed_at = np.empty_like(rates)
        packed_at[order] = rates
        return order, packed_at

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
    block_steps = np.diff(numbers.edges)
    return Draws(
        keys=_purpose_keys(seed, len(probabilities)),
        source_below=_thresholds(probabilities),
        compressed_below=shares.compressed,
        pair_below=shares.compressed + shares.pair,
        block_first=numbers.edges[:-1].repeat(block_steps),
        block_steps=np.where(numbers.rate_varies, block_steps, 0).repeat(block_steps),
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
