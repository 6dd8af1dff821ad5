"""Which keys a query may see: the mask rules of packed contexts, written once.

Shapes: ``B`` contexts, ``N`` positions, window ``W``, chunk ``C``, ``M`` chunk summaries that some
query can see. Documents are attention segments: ``segment_ids`` ``[B, N]`` is non-decreasing.
The rules are plain functions of broadcastable index tensors. What computes from runs of positions
instead (``kernels.training.runs``, ``kernels.flex``) is tested against dense masks made of them.
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


def may_see_key(
    query: Tensor, key: Tensor, query_document: Tensor, key_document: Tensor, window: int
) -> Tensor:
    """Exact keys: at or before the query, in its window and in its document."""
    same_window = query // window == key // window
    return (key <= query) & same_window & (query_document == key_document)


def may_see_summary(
    query: Tensor,
    chunk_index: Tensor,
    query_document: Tensor,
    chunk_document: Tensor,
    attention: EvaAttention,
) -> Tensor:
    """Summaries: of an earlier window, and kept by the query's document."""
    earlier = chunk_index // attention.chunks_per_window < query // attention.window
    return earlier & (query_document == chunk_document)


def dense_mask(segment_ids: Tensor, attention: Attention) -> Tensor:
    """Boolean ``[B, N, M + N]``: summaries first, then exact keys; true where visible."""
    length = segment_ids.shape[1]
    positions = torch.arange(length, device=segment_ids.device)
    query, query_document = positions[None, :, None], segment_ids[:, :, None]
    window, key_document = window_of(attention, length), segment_ids[:, None, :]
    exact = may_see_key(query, positions[None, None, :], query_document, key_document, window)
    if not isinstance(attention, EvaAttention):
        return exact
    count = visible_chunk_count(length, attention)
    summaries = may_see_summary(
        query,
        torch.arange(count, device=segment_ids.device)[None, None, :],
        query_document,
        chunk_documents(segment_ids, attention, count)[:, None, :],
        attention,
    )
    return torch.cat([summaries, exact], dim=-1)


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
