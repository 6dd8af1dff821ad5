"""Which keys a query may see: the mask rules of packed contexts, written once.

Shapes: ``B`` contexts, ``N`` positions, window ``W``, chunk ``C``, ``M`` chunk summaries that some
query can see. Documents are attention segments: ``segment_ids`` ``[B, N]`` is non-decreasing.
What computes from runs of positions instead (``kernels.training.runs``, ``kernels.flex``) is tested
against the dense mask.
"""

from __future__ import annotations

import torch
from torch import Tensor

from proxylm.models.config import Attention, EvaAttention


def window_of(attention: Attention, length: int) -> int:
    """``W``; causal attention is one window over all ``length`` positions."""
    return attention.window if isinstance(attention, EvaAttention) else max(length, 1)


def visible_chunk_count(length: int, attention: Attention) -> int:
    """``M``: chunks of every window but the last that ``length`` positions touch; causal: 0."""
    if not isinstance(attention, EvaAttention):
        return 0
    return max(length - 1, 0) // attention.window * attention.chunks_per_window


def chunk_documents(segment_ids: Tensor, attention: EvaAttention, count: int) -> Tensor:
    """``[B, M]``: the one document that each of the first ``count`` chunks keeps, its last."""
    ends = segment_ids[:, attention.chunk - 1 :: attention.chunk]
    return ends[:, :count]


def dense_mask(segment_ids: Tensor, attention: Attention) -> Tensor:
    """Boolean ``[B, N, M + N]``: summaries first, then exact keys; true where visible.

    Exact keys are visible at or before the query, in its window and in its document; summaries of
    an earlier window, where the query's document is the one that they keep.
    """
    length, device = segment_ids.shape[1], segment_ids.device
    key, query_document = torch.arange(length, device=device), segment_ids[:, :, None]
    query, window = key[:, None], window_of(attention, length)
    same_document = query_document == segment_ids[:, None, :]
    exact = (key <= query) & (query // window == key // window) & same_document
    if not isinstance(attention, EvaAttention):
        return exact
    count = visible_chunk_count(length, attention)
    chunk_windows = torch.arange(count, device=device) // attention.chunks_per_window
    kept = query_document == chunk_documents(segment_ids, attention, count)[:, None, :]
    return torch.cat([(chunk_windows < query // window) & kept, exact], dim=-1)


def positions_within(segment_ids: Tensor) -> Tensor:
    """``[B, N]`` int64: offset of each position from the start of its document.

    >>> positions_within(torch.tensor([[0, 0, 1, 1, 1]]))
    tensor([[0, 1, 0, 1, 2]])
    """
    positions = torch.arange(segment_ids.shape[1], device=segment_ids.device)
    starts = torch.zeros_like(segment_ids, dtype=torch.int64)
    changes = segment_ids[:, 1:] != segment_ids[:, :-1]
    starts[:, 1:] = torch.where(changes, positions[1:], 0)
    return positions - starts.cummax(dim=1).values
