"""Attention on a GPU: FlexAttention over ``[summaries; keys]``, told by intervals what is visible.

A query sees two runs of columns: the summaries of earlier windows from its document's first chunk
on, and the keys from the start of its window or document up to itself. Their bounds decide every
pair, and which of the kernel's tiles it needs at all. The tests hold this against the dense masks
of ``masks``, on a CPU too, where FlexAttention has no backward and is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from proxylm.models.attention import AttentionForm, with_summaries
from proxylm.models.config import Attention, EvaAttention
from proxylm.models.masks import positions_within, visible_chunk_count, window_of

# What the compiled kernels ask of their inputs, forward and backward.
_TILE = 128
_NARROWEST_HEAD = 16
# After every document: ids do not decrease.
_PADDING_DOCUMENT = (1 << 31) - 1

MaskFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class VisibleColumns:
    """What each query sees of ``M`` summaries and then ``N`` keys, as two runs of columns.

    Attributes:
        summary_start, summary_end: ``[B, N]``; nothing where the end is not after the start.
        key_start, key_end: ``[B, N]``; counted after the summaries, never empty.
        count: ``M + N``.
    """

    summary_start: Tensor
    summary_end: Tensor
    key_start: Tensor
    key_end: Tensor
    count: int

    @classmethod
    def of(cls, attention: Attention, segment_ids: Tensor) -> VisibleColumns:
        """The runs of packed contexts, ``segment_ids [B, N]`` (rules: ``masks``)."""
        batch, length = segment_ids.shape
        summaries, window = visible_chunk_count(length, attention), window_of(attention, length)
        query = torch.arange(length, device=segment_ids.device).expand(batch, length)
        document_start = query - positions_within(segment_ids)
        summary_start = summary_end = torch.zeros_like(query)
        if isinstance(attention, EvaAttention):
            # A chunk belongs to the document of its last position.
            summary_start = document_start // attention.chunk
            summary_end = query // window * attention.chunks_per_window
        return cls(
            summary_start=summary_start,
            summary_end=summary_end,
            key_start=summaries + torch.maximum(document_start, query // window * window),
            key_end=summaries + query + 1,
            count=summaries + length,
        )

    def mask_function(self) -> MaskFunction:
        """FlexAttention's ``mask_mod``."""
        summary_start, summary_end = self.summary_start, self.summary_end
        key_start, key_end = self.key_start, self.key_end

        def is_visible(batch: Tensor, head: Tensor, query: Tensor, column: Tensor) -> Tensor:
            is_summary = (column >= summary_start[batch, query]) & (
                column < summary_end[batch, query]
            )
            is_key = (column >= key_start[batch, query]) & (column < key_end[batch, query])
            return is_summary | is_key

        return is_visible

    def block_mask(self) -> BlockMask:
        """Which tiles are seen whole and which in part; ``N`` is a multiple of the tile."""
        device = self.key_start.device
        starts = torch.arange(0, self.count, _TILE, device=device)
        seen = self._seen_of(starts, starts + _TILE).unflatten(1, (-1, _TILE))
        whole = (seen == _TILE).all(dim=2)
        partly = (seen > 0).any(dim=2) & ~whole
        return BlockMask.from_kv_blocks(
            *_listed(partly),
            *_listed(whole),
            BLOCK_SIZE=_TILE,
            mask_mod=self.mask_function(),
            seq_lengths=(self.key_start.shape[1], self.count),
        )

    def _seen_of(self, start: Tensor, end: Tensor) -> Tensor:
        # [B, N, T]: how many columns of each of T ranges each query sees.
        def overlap(first: Tensor, last: Tensor) -> Tensor:
            upper = torch.minimum(last[..., None], end)
            return (upper - torch.maximum(first[..., None], start)).clamp(min=0)

        summaries = overlap(self.summary_start, self.summary_end)
        return summaries + overlap(self.key_start, self.key_end)


def _listed(tiles: Tensor) -> tuple[Tensor, Tensor]:
    # Booleans [B, rows, columns] as counts [B, 1, rows] and column numbers, the true ones first.
    columns = torch.argsort(tiles.int(), dim=-1, descending=True, stable=True)
    return tiles.sum(dim=-1, dtype=torch.int32)[:, None], columns.int()[:, None]


class FlexForm(AttentionForm):
    """One FlexAttention call per layer; the tiles are listed once per forward.

    ``attend`` belongs into a compiled block (``proxylm.models.kernels.dispatch``): by itself it
    materializes all scores. Contexts that do not fill the kernel's tiles are padded with a document
    of their own, heads that are narrower than it takes with zeros.
    """

    def __init__(self, attention: Attention, segment_ids: Tensor) -> None:
        self.attention = attention
        self.length = segment_ids.shape[1]
        self.padding = -self.length % _TILE
        self.segment_ids = F.pad(segment_ids, (0, self.padding), value=_PADDING_DOCUMENT)
        self.block_mask = VisibleColumns.of(attention, self.segment_ids).block_mask()

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mu: Tensor | None, phi: Tensor | None
    ) -> Tensor:
        """See the base class."""
        heads, kv_heads, head_width = query.shape[2], key.shape[2], query.shape[3]
        query, key, value = (F.pad(x, (0, 0, 0, 0, 0, self.padding)) for x in (query, key, value))
        key, value = with_summaries(self.attention, self.segment_ids, key, value, mu, phi)
        missing = max(_NARROWEST_HEAD - head_width, 0)
        query, key, value = (F.pad(x, (0, missing)).transpose(1, 2) for x in (query, key, value))
        attended = flex_attention(
            query,
            key,
            value,
            block_mask=self.block_mask,
            scale=head_width**-0.5,
            enable_gqa=heads != kv_heads,
        )
        return attended.transpose(1, 2)[:, : self.length, :, :head_width]
