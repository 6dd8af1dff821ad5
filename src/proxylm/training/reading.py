"""What a rank reads of a run's data: its share of every step, one step ahead of the updates.

Rank ``r`` of ``w`` takes a step's contexts from ``r * ceil(C / w)`` on. Every rank makes equally
many passes, since weights are gathered and gradients summed in each: missing contexts are filled
up with such as train nothing. Which contexts a step has never depends on the ranks; their hash is
in the metrics of every step, so that two runs can be compared.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from proxylm.data.batch import Batch
from proxylm.data.batches import Batches
from proxylm.ranks import Ranks
from proxylm.symbols import IGNORED_TARGET, PAD

FILLED_UP = -1
"""Number of a context that is no part of the step."""

_HASH_BITS = 64


class StepBatches(Protocol):
    """What an update needs of its data: the contexts of a step, by number."""

    def batch(self, step: int) -> Batch:
        """The contexts of ``step``, from 0."""
        ...


class RankBatches:
    """A rank's contexts of every step.

    Args:
        batches: of the run. ``Batches`` makes the rank's contexts alone; anything else gives whole
            steps, of which they are taken.
        ranks: of the run.
    """

    def __init__(self, batches: StepBatches, ranks: Ranks) -> None:
        self._batches, self._ranks = batches, ranks

    def batch(self, step: int) -> Batch:
        """The rank's contexts of ``step``, filled up to as many as every rank has."""
        if not isinstance(self._batches, Batches):
            whole = self._batches.batch(step)
            first, count, each = self._share(len(whole.inputs))
            return _filled_up(contexts_of(whole, slice(first, first + count)), each)
        first, count, each = self._share(self._batches.contexts_per_step)
        if count:
            return _filled_up(self._batches.batch(step, first=first, count=count), each)
        # Nothing is left for this rank; any context gives the shape.
        return _filled_up(contexts_of(self._batches.batch(step, count=1), slice(0)), each)

    def _share(self, contexts: int) -> tuple[int, int, int]:
        """First context, how many there are, and how many every rank computes."""
        each = -(-contexts // self._ranks.world)
        first = min(self._ranks.rank * each, contexts)
        return first, min(each, contexts - first), each


class ReadAhead:
    """Batches that are made one step ahead, in a thread, while the step before is computed.

    Args:
        batches: asked for one step at a time, by that thread.
        steps: how many there are.
    """

    def __init__(self, batches: StepBatches, steps: int) -> None:
        self._batches, self._steps = batches, steps
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="proxylm-read-ahead")
        self._ahead: tuple[int, Future[Batch]] | None = None

    def batch(self, step: int) -> Batch:
        """The contexts of ``step``; those of the next one are begun."""
        here = self._ahead[1] if self._ahead and self._ahead[0] == step else self._begin(step)
        batch = here.result()
        self._ahead = (step + 1, self._begin(step + 1)) if step + 1 < self._steps else None
        return batch

    def _begin(self, step: int) -> Future[Batch]:
        return self._thread.submit(self._batches.batch, step)


def contexts_of(batch: Batch, part: slice | NDArray[np.bool_]) -> Batch:
    """Some of a batch's contexts."""
    return replace(
        batch,
        inputs=batch.inputs[part],
        targets=batch.targets[part],
        segment_ids=batch.segment_ids[part],
        position_ids=batch.position_ids[part],
        contexts=batch.contexts[part],
    )


def _filled_up(batch: Batch, contexts: int) -> Batch:
    missing = contexts - len(batch.inputs)
    if not missing:
        return batch

    def extended(array: NDArray[np.integer], value: object) -> NDArray[np.integer]:
        more = np.empty((missing, *array.shape[1:]), array.dtype)
        more[:] = value
        return np.concatenate([array, more])

    return replace(
        batch,
        inputs=extended(batch.inputs, PAD),
        targets=extended(batch.targets, IGNORED_TARGET),
        segment_ids=extended(batch.segment_ids, 0),
        position_ids=extended(batch.position_ids, np.arange(batch.inputs.shape[1])),
        contexts=extended(batch.contexts, FILLED_UP),
    )


def without_filling(batch: Batch) -> Batch:
    """The contexts that are part of the step."""
    real = batch.contexts != FILLED_UP
    return batch if real.all() else contexts_of(batch, real)


def hash_sum(batch: Batch) -> int:
    """Sum of the hashes of a batch's contexts: the ranks' sums add up to the step's.

    A context's hash covers its number and every integer that it gives to the model.
    """
    total = 0
    arrays = (batch.contexts, batch.inputs, batch.targets, batch.segment_ids, batch.position_ids)
    for row in range(len(batch.contexts)):
        digest = xxhash.xxh3_64()
        for array in arrays:
            digest.update(np.ascontiguousarray(array[row]).data)
        total += digest.intdigest()
    return total % (1 << _HASH_BITS)


def as_halves(number: int) -> tuple[float, float]:
    """64 bits as two numbers that can be added in float64 without loss."""
    return float(number >> 32), float(number & 0xFFFFFFFF)


def from_halves(high: float, low: float) -> str:
    """The sum of such numbers, in hexadecimal."""
    return f"{((int(high) << 32) + int(low)) % (1 << _HASH_BITS):016x}"
