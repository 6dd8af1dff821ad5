"""Attention on a GPU: FlexAttention with the mask rules of ``layout``.

One block-sparse attention over ``[summaries; keys]`` replaces hand-written kernels. The mask
function is a plain function of indices; the tests check it against the dense masks on a CPU, where
FlexAttention has no backward and is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from proxylm.models.attention import AttentionForm, with_summaries
from proxylm.models.config import Attention, EvaAttention
from proxylm.models.layout import (
    chunk_documents,
    may_see_key,
    may_see_summary,
    visible_chunk_count,
    window_of,
)

MaskFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def mask_function(attention: Attention, document_ids: Tensor) -> MaskFunction:
    """FlexAttention's ``mask_mod`` over ``M`` summaries and then ``N`` keys (causal: ``M = 0``)."""
    length = document_ids.shape[1]
    count, window = visible_chunk_count(length, attention), window_of(attention, length)

    def keys_alone(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        documents = document_ids[batch, query], document_ids[batch, key]
        return may_see_key(query, key, *documents, window)

    if not isinstance(attention, EvaAttention) or count == 0:
        return keys_alone
    eva = attention
    kept_documents = chunk_documents(document_ids, eva, count).contiguous()

    def summaries_and_keys(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        chunk, own_key = key.clamp(max=count - 1), (key - count).clamp(min=0)
        documents = document_ids[batch, query], kept_documents[batch, chunk]
        summary = may_see_summary(query, chunk, *documents, eva)
        exact = keys_alone(batch, head, query, own_key)
        return ((key < count) & summary) | ((key >= count) & exact)

    return summaries_and_keys


class FlexForm(AttentionForm):
    """One FlexAttention call per layer; the block mask is made once per forward."""

    def __init__(self, attention: Attention, document_ids: Tensor) -> None:
        self.attention = attention
        self.document_ids = document_ids
        batch, length = document_ids.shape
        count = visible_chunk_count(length, attention)
        self.block_mask = create_block_mask(
            mask_function(attention, document_ids),
            batch,
            None,
            length,
            count + length,
            device=document_ids.device,
        )

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mu: Tensor | None, phi: Tensor | None
    ) -> Tensor:
        """See the base class."""
        key, value = with_summaries(self.attention, self.document_ids, key, value, mu, phi)
        attended = _kernel(query.device.type)(
            *(x.transpose(1, 2) for x in (query, key, value)),
            block_mask=self.block_mask,
            enable_gqa=query.shape[2] != key.shape[2],
        )
        return attended.transpose(1, 2)


@cache
def _kernel(device_type: str) -> Callable[..., Any]:
    # Uncompiled, FlexAttention materializes all scores: right for tests, useless on a GPU.
    if device_type != "cuda":
        return flex_attention
    compiled: Callable[..., Any] = torch.compile(flex_attention)
    return compiled
