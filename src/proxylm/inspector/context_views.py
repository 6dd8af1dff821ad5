"""A packed training context of a store: symbols, spans, masks, and what attention reaches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Int64

from proxylm.data.batches import Batches, batches
from proxylm.data.mixture import READY_MIXTURES
from proxylm.data.picture import show
from proxylm.data.sources import Source
from proxylm.data.store.store import ViewStore
from proxylm.errors import UsageError
from proxylm.models.config import Attention, EvaAttention
from proxylm.models.masks import dense_mask, visible_chunk_count
from proxylm.symbols import (
    COMPRESSED_OFFSET,
    IGNORED_TARGET,
    RAW_OFFSET,
    SPECIAL_COUNT,
    symbol_name,
)

CONTEXTS_PER_STEP, STEPS = 16, 1000
"""Of the run whose contexts are shown; a schedule's parts refer to its steps."""
MOST_PLANNED = 8
"""A plan of a large store is large."""


class PackedContexts:
    """Packed contexts of stores; the plans that were used last are kept."""

    def __init__(self) -> None:
        self._plan = lru_cache(maxsize=MOST_PLANNED)(_plan)
        self._lock = Lock()

    def context(
        self,
        store: ViewStore,
        *,
        view: str | None,
        mixture: str,
        step: int,
        number: int,
        context: int,
        attention: Attention | None,
    ) -> dict[str, Any]:
        """One context as the model would get it.

        Args:
            store: of documents and views.
            view: its compressed view; None for the only one, or none.
            mixture: the name of a ready one.
            step: of ``STEPS``.
            number: of the step's ``CONTEXTS_PER_STEP`` contexts.
            context: symbols.
            attention: whose reach is told; None for causal attention in each segment.

        Returns:
            ``symbols`` as ``[kind, name, bytes]`` (bytes None where they are not known), by
            position ``segment_ids``, ``position_ids``, ``masked`` (what trains nothing, of head
            0) and ``reach``; ``spans`` and ``statistics`` of the step.

        Raises:
            UsageError: there is no such mixture or view, or the numbers do not fit the data.
            DataError: the store cannot be used so, or the data ends before the step.
        """
        if mixture not in READY_MIXTURES:
            raise UsageError(f"mixture {mixture!r}: must be one of {', '.join(READY_MIXTURES)}")
        with self._lock:  # a batch's arrays are used again for the next one
            drawn, spellings = self._plan(store, view, mixture, context)
            batch = drawn.batch(step, first=number, count=1)
            (shown,) = show(batch).contexts
            return {
                "symbols": _symbols(batch.inputs[0], spellings),
                "segment_ids": batch.segment_ids[0].tolist(),
                "position_ids": batch.position_ids[0].tolist(),
                "masked": (batch.targets[0, :, 0] == IGNORED_TARGET).tolist(),
                "reach": reach(attention, batch.segment_ids[0]).tolist(),
                "chunk": attention.chunk if isinstance(attention, EvaAttention) else None,
                "spans": [span.to_json() for span in shown.spans],
                "statistics": drawn.statistics(step).to_json(),
            }


def _plan(
    store: ViewStore, view: str | None, mixture: str, context: int
) -> tuple[Batches, Sequence[bytes] | None]:
    """A store's batches, and what the symbols of its view spell where that is known."""
    drawn = batches(
        Source(store, view),
        READY_MIXTURES[mixture](),
        context=context,
        contexts_per_step=CONTEXTS_PER_STEP,
        steps=STEPS,
    )
    shown = drawn.sources[0].view
    compressor = None if shown is None else shown.load_compressor()
    return drawn, None if compressor is None else compressor.spellings


def reach(
    attention: Attention | None, segment_ids: Int[np.ndarray, " position"]
) -> Int64[np.ndarray, "position first_and_chunks=3"]:
    """What each position attends to: exact keys from the first one to itself, and chunks.

    >>> from proxylm.models.config import EvaAttention
    >>> reach(EvaAttention(window=4, chunk=2), np.zeros(6, np.int32))[[3, 5]].tolist()
    [[0, 0, 0], [4, 0, 2]]

    Args:
        attention: a model's; None for causal attention.
        segment_ids: of one context.

    Returns:
        By position, its first exact key, and the chunks ``[start, stop)`` whose summaries it sees.
    """
    length, count = len(segment_ids), 0
    if attention is None:
        starts = np.concatenate([[True], segment_ids[1:] != segment_ids[:-1]])
        first = np.maximum.accumulate(np.where(starts, np.arange(length), 0))
        return np.stack([first, 0 * first, 0 * first], axis=1)
    count = visible_chunk_count(length, attention)
    mask = dense_mask(torch.from_numpy(segment_ids.astype(np.int64))[None], attention)[0].numpy()
    first = mask[:, count:].argmax(axis=1)
    seen = mask[:, :count].sum(axis=1)
    start = mask[:, :count].argmax(axis=1) if count else np.zeros(length, dtype=np.int64)
    return np.stack([first, start, start + seen], axis=1)


def _symbols(
    ids: Int[np.ndarray, " position"], spellings: Sequence[bytes] | None
) -> list[list[Any]]:
    found: list[list[Any]] = []
    for one in ids.tolist():
        if one < SPECIAL_COUNT:
            found.append(["special", symbol_name(one), None])
        elif one < COMPRESSED_OFFSET:
            found.append(["byte", symbol_name(one), bytes([one - RAW_OFFSET])])
        else:
            spelled = None if spellings is None else spellings[one - COMPRESSED_OFFSET]
            found.append(["symbol", symbol_name(one), spelled])
    return found
