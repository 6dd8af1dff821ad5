"""Attention of both architectures over packed contexts, as one masked softmax.

Shapes: queries ``[B, N, H, D]``, keys and values ``[B, N, H_kv, D]``, rotation applied. An
``AttentionForm`` is made once per forward from the documents' layout and shared by all layers.
``DenseForm`` is the plain reference: one masked softmax over ``M + N`` keys, as the formulas say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from proxylm.models.config import Attention, EvaAttention
from proxylm.models.masks import chunk_documents, dense_mask, visible_chunk_count
from proxylm.models.summaries import summarize_chunks


class AttentionForm(ABC):
    """How one forward computes attention; knows windows, chunks and documents."""

    @abstractmethod
    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mu: Tensor | None, phi: Tensor | None
    ) -> Tensor:
        """Attention output ``[B, N, H, D]``; ``mu`` and ``phi`` ``[H, D]`` are EVA's."""


class DenseForm(AttentionForm):
    """The plain reference: scores against every key, masked. Memory ``B H N (M + N)``."""

    def __init__(self, attention: Attention, segment_ids: Tensor) -> None:
        self.attention = attention
        self.segment_ids = segment_ids
        self.mask = dense_mask(segment_ids, attention)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mu: Tensor | None, phi: Tensor | None
    ) -> Tensor:
        """See the base class."""
        groups = query.shape[2] // key.shape[2]
        key, value = (x.repeat_interleave(groups, dim=2) for x in (key, value))
        key, value = with_summaries(self.attention, self.segment_ids, key, value, mu, phi)
        scores = torch.einsum("bnhd,bmhd->bhnm", query, key) * query.shape[-1] ** -0.5
        scores = scores.float().masked_fill(~self.mask[:, None], -torch.inf)
        return torch.einsum("bhnm,bmhd->bnhd", torch.softmax(scores, -1).to(value.dtype), value)


def with_summaries(
    attention: Attention,
    segment_ids: Tensor,
    key: Tensor,
    value: Tensor,
    mu: Tensor | None,
    phi: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Keys and values ``[B, M + N, H, D]``, EVA's chunk summaries before them (causal: none)."""
    if not isinstance(attention, EvaAttention):
        return key, value
    assert mu is not None and phi is not None
    # Of the chunks that a later window can see.
    count = visible_chunk_count(key.shape[1], attention)
    covered = count * attention.chunk
    chunked = (key.shape[0], count, attention.chunk)
    documents = segment_ids[:, :covered].reshape(chunked)
    kept = documents == chunk_documents(segment_ids, attention, count)[..., None]
    keys, values = (x[:, :covered].reshape(*chunked, *x.shape[2:]) for x in (key, value))
    summaries = summarize_chunks(keys, values, mu, phi, kept)
    return torch.cat([summaries[0], key], dim=1), torch.cat([summaries[1], value], dim=1)
