"""Cutting packed contexts into runs: the stretches inside which attention has no holes.

A run is one document's part of one window. Its queries see, without any mask but causality, the
run itself and the document's chunk summaries of earlier windows, which are consecutive too. Causal
attention is the case of one window over everything and no summaries. Runs of equal shape, over all
contexts of a batch, are computed together. The rules themselves stand in ``proxylm.models.masks``.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxylm.errors import DataError
from proxylm.models.config import Attention, EvaAttention
from proxylm.models.kernels.training.rows import ROWS_PER_BLOCK
from proxylm.models.masks import visible_chunk_count, window_of


@dataclass(frozen=True, slots=True)
class Run:
    """Rows ``[start, start + length)`` and summary rows ``[first_summary, + summary_count)``."""

    start: int
    length: int
    first_summary: int
    summary_count: int


@dataclass(frozen=True, slots=True)
class SummaryPass:
    """Rows whose chunks are summarized together, and the summaries' own rows.

    Attributes:
        rows: of keys and values, whole chunks of one context.
        summaries: rows of the summaries, over all contexts.
        masked: int64, rows counted from the start of ``rows`` that belong to an earlier document
            than their chunk's last.
        chunk: ``C``.
    """

    rows: slice
    summaries: slice
    masked: Tensor
    chunk: int


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All runs of a batch of ``B`` contexts of ``N`` positions.

    Attributes:
        groups: runs of equal length and summary count, together.
        passes: the summarizing of every chunk that a later window can see.
    """

    groups: tuple[tuple[Run, ...], ...]
    passes: tuple[SummaryPass, ...]


def plan_runs(segment_ids: NDArray[np.integer], attention: Attention) -> RunPlan:
    """The runs of packed contexts; ``segment_ids`` is ``[B, N]``, non-decreasing in each row.

    Raises:
        DataError: document ids that decrease.
    """
    if (np.diff(segment_ids, axis=1) < 0).any():
        raise DataError("segment_ids must not decrease inside a context")
    grouped: dict[tuple[int, int], list[Run]] = defaultdict(list)
    passes: list[SummaryPass] = []
    for context, documents in enumerate(segment_ids):
        for run in context_runs(context, documents, attention):
            grouped[run.length, run.summary_count].append(run)
        if isinstance(attention, EvaAttention):
            passes += _summary_passes(context, documents, attention)
    return RunPlan(groups=tuple(map(tuple, grouped.values())), passes=tuple(passes))


def context_runs(
    context: int, documents: NDArray[np.integer], attention: Attention
) -> Iterator[Run]:
    """The runs of one context, in order; ``documents`` is its ``segment_ids`` row ``[N]``."""
    length = len(documents)
    window, chunks = window_of(attention, length), visible_chunk_count(length, attention)
    starts = np.flatnonzero(np.diff(documents)) + 1
    edges = np.union1d(starts, np.arange(0, length + window, window).clip(max=length)).tolist()
    for start, end in itertools.pairwise(edges):
        # Chunks in order keep non-decreasing documents (each its last position's), so those that
        # a document keeps are consecutive, and found by bisection.
        first = last = 0
        if isinstance(attention, EvaAttention) and start >= window:
            earlier = documents[: start // window * window][attention.chunk - 1 :: attention.chunk]
            own = documents[start]
            first = int(np.searchsorted(earlier, own, side="left"))
            last = int(np.searchsorted(earlier, own, side="right"))
        yield Run(context * length + start, end - start, context * chunks + first, last - first)


def _summary_passes(
    context: int, documents: NDArray[np.integer], eva: EvaAttention
) -> Iterator[SummaryPass]:
    length, chunk = len(documents), eva.chunk
    chunks = visible_chunk_count(length, eva)
    covered = documents[: chunks * chunk]
    masked = covered != np.repeat(covered[chunk - 1 :: chunk], chunk)
    chunks_per_pass = max(1, ROWS_PER_BLOCK // chunk)
    for first in range(0, chunks, chunks_per_pass):
        last = min(first + chunks_per_pass, chunks)
        rows = slice(first * chunk, last * chunk)
        yield SummaryPass(
            rows=slice(context * length + rows.start, context * length + rows.stop),
            summaries=slice(context * chunks + first, context * chunks + last),
            masked=torch.from_numpy(np.flatnonzero(masked[rows])),
            chunk=chunk,
        )
