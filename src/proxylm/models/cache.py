"""Caches for incremental decoding: EVA in memory ``O(W + N/C)``, causal attention in ``O(N)``.

All rows of a batch stand at the same position, counted from 0: there is no left padding. Rows with
prompts of different lengths go on together by feeding the longer ones their own prompt symbols.

An EVA layer holds the summaries and the current window's keys in one buffer, summaries written
backwards from the middle and keys forwards, so that what a query sees is always one slice::

    [ free | summary M-1 ... summary 1, summary 0 | key 0, key 1 ... key W-1 ]

Chunks are summarized only when their window is complete. The keys of the window before are kept
beside, so that ``rewind`` can take back rejected proposals, across a window's border too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from proxylm.models.config import EvaAttention, ModelConfig
from proxylm.models.summaries import summarize_chunks

_FIRST_CAPACITY = 64

SummaryVectors = Callable[[], tuple[Tensor | None, Tensor | None]]
"""Gives EVA's ``mu`` and ``phi`` ``[H, D]``; asked only when a window is complete."""


class Slot(NamedTuple):
    """Where one further position goes, and what it sees.

    Keys and values are ``buffer [2, B, H_kv, capacity, D]``; the new position is the last of
    ``first`` ... ``end - 1``, which are all that its query sees.
    """

    buffer: Tensor
    first: int
    end: int


class LayerCache(ABC):
    """Keys and values of one layer."""

    @abstractmethod
    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mu: Tensor | None, phi: Tensor | None
    ) -> Tensor:
        """Append ``n`` positions ``[B, n, heads, D]`` and attend from them, ``[B, n, H, D]``."""

    @abstractmethod
    def open_slot(self, key: Tensor) -> Slot:
        """Room for one position whose keys look like ``key [B, H_kv, D]``; the caller fills it."""

    @abstractmethod
    def close_slot(self, summary_vectors: SummaryVectors) -> None:
        """Count the position in, once its slot is filled and its query has attended."""

    @abstractmethod
    def rewind(self, position: int) -> None:
        """Forget every position from ``position`` on."""

    @abstractmethod
    def keep_rows(self, rows: Tensor) -> None:
        """Keep only these rows of the batch, int64 ``[b]``, in this order."""


def attend(query: Tensor, key: Tensor, value: Tensor, *, seen_before: int) -> Tensor:
    """Attention of ``n`` new positions ``[B, n, H, D]``, causal among themselves.

    ``key`` and ``value`` are ``[B, H_kv, seen_before + n, D]``.
    """
    count = query.shape[1]
    mask = None
    if count > 1:
        everything = torch.ones(count, seen_before + count, dtype=torch.bool, device=query.device)
        mask = everything.tril(diagonal=seen_before)
    grouped = query.shape[2] != key.shape[1]
    out = F.scaled_dot_product_attention(
        query.transpose(1, 2), key, value, attn_mask=mask, enable_gqa=grouped
    )
    return out.transpose(1, 2)


class CausalLayerCache(LayerCache):
    """Every key and value so far, in a buffer that doubles when it is full."""

    def __init__(self) -> None:
        self.length = 0
        self.buffer: Tensor | None = None  # [2, B, H_kv, capacity, D]

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mu: Tensor | None, phi: Tensor | None
    ) -> Tensor:
        """See the base class."""
        end = self.length + query.shape[1]
        buffer = self._reserve(key, end)
        buffer[0, :, :, self.length : end] = key.transpose(1, 2)
        buffer[1, :, :, self.length : end] = value.transpose(1, 2)
        out = attend(query, buffer[0, :, :, :end], buffer[1, :, :, :end], seen_before=self.length)
        self.length = end
        return out

    def open_slot(self, key: Tensor) -> Slot:
        """See the base class."""
        end = self.length + 1
        return Slot(self._reserve(key[:, None], end), 0, end)

    def close_slot(self, summary_vectors: SummaryVectors) -> None:
        """See the base class."""
        self.length += 1

    def rewind(self, position: int) -> None:
        """See the base class."""
        self.length = position

    def keep_rows(self, rows: Tensor) -> None:
        """See the base class."""
        if self.buffer is not None:
            self.buffer = self.buffer.index_select(1, rows)

    def _reserve(self, key: Tensor, end: int) -> Tensor:
        capacity = 0 if self.buffer is None else self.buffer.shape[3]
        if end > capacity:
            batch, _, heads, width = key.shape
            grown = key.new_empty(2, batch, heads, max(end, 2 * capacity, _FIRST_CAPACITY), width)
            if self.buffer is not None:
                grown[:, :, :, : self.length] = self.buffer[:, :, :, : self.length]
            self.buffer = grown
        assert self.buffer is not None
        return self.buffer


class EvaLayerCache(LayerCache):
    """Summaries of complete windows beside the exact keys of the current one."""

    def __init__(self, attention: EvaAttention) -> None:
        self.attention = attention
        self.length = 0
        self.capacity = 0  # summaries that fit
        self.buffer: Tensor | None = None  # [2, B, H, capacity + W, D]
        self.previous_window: Tensor | None = None  # [2, B, H, W, D], of the newest sealed window
        self.sealed_windows = 0

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mu: Tensor | None, phi: Tensor | None
    ) -> Tensor:
        """See the base class."""
        assert mu is not None and phi is not None
        window, outputs, start = self.attention.window, [], 0
        while start < query.shape[1]:
            end = min(query.shape[1], start + window - self.length % window)
            piece = slice(start, end)
            outputs.append(self._attend_in_window(query[:, piece], key[:, piece], value[:, piece]))
            if self.length % window == 0:
                self._seal_window(mu, phi)
            start = end
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)

    def open_slot(self, key: Tensor) -> Slot:
        """See the base class."""
        window = self.attention.window
        summaries = self.length // window * self.attention.chunks_per_window
        end = self.capacity + self.length % window + 1
        return Slot(self._reserve(key[:, None]), self.capacity - summaries, end)

    def close_slot(self, summary_vectors: SummaryVectors) -> None:
        """See the base class."""
        self.length += 1
        if self.length % self.attention.window == 0:
            mu, phi = summary_vectors()
            assert mu is not None and phi is not None
            self._seal_window(mu, phi)

    def _attend_in_window(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        buffer = self._reserve(key)
        filled = self.length % self.attention.window
        summaries = self.length // self.attention.window * self.attention.chunks_per_window
        first, old_end = self.capacity - summaries, self.capacity + filled
        end = old_end + key.shape[1]
        buffer[0, :, :, old_end:end] = key.transpose(1, 2)
        buffer[1, :, :, old_end:end] = value.transpose(1, 2)
        self.length += key.shape[1]
        seen = buffer[:, :, :, first:end]
        return attend(query, seen[0], seen[1], seen_before=old_end - first)

    def _seal_window(self, mu: Tensor, phi: Tensor) -> None:
        assert self.buffer is not None
        chunks = self.attention.chunks_per_window
        window_keys = self.buffer[:, :, :, self.capacity :]
        self.previous_window = window_keys.clone()
        self.sealed_windows = self.length // self.attention.window
        # [2, B, H, W, D] -> [2, B, chunks, C, H, D]
        by_chunk = window_keys.unflatten(3, (chunks, self.attention.chunk)).permute(
            0, 1, 3, 4, 2, 5
        )
        summaries = torch.stack(summarize_chunks(by_chunk[0], by_chunk[1], mu, phi))
        earlier = (self.length // self.attention.window - 1) * chunks
        self._reserve_summaries(earlier + chunks, held=earlier)
        first = self.capacity - earlier - chunks
        self.buffer[:, :, :, first : first + chunks] = summaries.transpose(2, 3).flip(3)

    def rewind(self, position: int) -> None:
        """Forget positions from ``position`` on; at most into the window before the current one."""
        window = self.attention.window
        assert 0 <= position <= self.length, "rewind goes back"
        if position // window < self.length // window:
            assert self.buffer is not None and self.previous_window is not None
            assert position // window == self.sealed_windows - 1, "rewind by more than a window"
            self.buffer[:, :, :, self.capacity :] = self.previous_window
        self.length = position

    def keep_rows(self, rows: Tensor) -> None:
        """See the base class."""
        if self.buffer is not None:
            self.buffer = self.buffer.index_select(1, rows)
        if self.previous_window is not None:
            self.previous_window = self.previous_window.index_select(1, rows)

    def _reserve(self, key: Tensor) -> Tensor:
        if self.buffer is None:
            batch, _, heads, width = key.shape
            self.buffer = key.new_empty(2, batch, heads, self.attention.window, width)
        return self.buffer

    def _reserve_summaries(self, wanted: int, *, held: int) -> None:
        if wanted <= self.capacity:
            return
        assert self.buffer is not None
        old, window = self.buffer, self.attention.window
        capacity = max(wanted, 2 * self.capacity)
        self.buffer = old.new_empty(*old.shape[:3], capacity + window, old.shape[4])
        used = held + window
        self.buffer[:, :, :, capacity - held :] = old[:, :, :, old.shape[3] - used :]
        self.capacity = capacity


class Cache:
    """What ``LanguageModel.step`` remembers: one layer cache each, and the next position."""

    def __init__(self, config: ModelConfig, batch_size: int) -> None:
        self.batch_size = batch_size
        self.position = 0
        self.layers: list[LayerCache] = [_layer_cache(config) for _ in range(config.layers)]

    def rewind(self, position: int) -> None:
        """Forget every position from ``position`` on (rejected proposals).

        With EVA, at most back into the window before the one of the newest symbol.
        """
        for layer in self.layers:
            layer.rewind(position)
        self.position = position

    def keep_rows(self, rows: Tensor) -> None:
        """Keep only these rows of the batch, int64 ``[b]``, in this order (the others are done)."""
        for layer in self.layers:
            layer.keep_rows(rows)
        self.batch_size = len(rows)


def _layer_cache(config: ModelConfig) -> LayerCache:
    if isinstance(config.attention, EvaAttention):
        return EvaLayerCache(config.attention)
    return CausalLayerCache()
