"""A few symbols through a block on a CPU: the matrix products, and as little else as possible.

A single symbol does so little work per operation that calling it costs more than doing it, and a
thread pool costs more than both. Norms, rotation and attention over the cache are therefore three
compiled loops on one thread; everything else is a matrix product. ``Block.step`` is the reference
the tests compare with.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from proxylm.models.blocks import Block
from proxylm.models.cache import LayerCache, attend
from proxylm.models.cpu.compiled import compiled
from proxylm.models.cpu.few_rows import add_linear, linear
from proxylm.models.feed import Feed, Integers, Round
from proxylm.models.norm import RMSNorm
from proxylm.models.rotary import Rotation

ONE_THREAD_PRODUCTS = 1 << 20
"""Up to this many products ``B H M D``, one thread attends faster than a pool could start."""

Array = NDArray[np.float32]


def step_block(
    block: Block, x: Tensor, rotation: Rotation, cache: LayerCache, feed: Feed
) -> Tensor:
    """``Block.step``: float32 ``[T, width]`` in and out."""
    attention, mlp = block.self_attn, block.mlp
    normed = _normalized(x, block.input_layernorm)
    query, key, value = (
        linear(normed, projection.weight).unflatten(1, (-1, attention.head_width))
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    angles = Rotation(rotation.cos[:, 0], rotation.sin[:, 0])
    mixed = torch.empty_like(query)
    for round_, buffer in cache.rounds(feed, key, attention.summary_vectors):
        _attend_round(query, key, value, angles, buffer, round_, mixed)
    rows = add_linear(x, mixed.flatten(1), attention.o_proj.weight)
    normed = _normalized(rows, block.post_attention_layernorm)
    inner = F.silu(linear(normed, mlp.gate_proj.weight), inplace=True)
    inner.mul_(linear(normed, mlp.up_proj.weight))
    return add_linear(rows, inner, mlp.down_proj.weight)


def _normalized(rows: Tensor, norm: RMSNorm) -> Tensor:
    out = rows.new_empty(rows.shape)
    offset = 1.0 if norm.unit_offset else 0.0
    weight = norm.weight.detach().numpy()
    _normalize(rows.numpy(), weight, np.float32(offset), np.float32(norm.epsilon), out.numpy())
    return out


def _attend_round(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    angles: Rotation,
    buffer: Tensor,
    round_: Round,
    out: Tensor,
) -> None:
    """Attention ``[T, H, D]`` of a round's symbols into ``out``; all without rotation before."""
    tokens = round_.tokens
    whole = isinstance(tokens, slice)
    if not whole:
        query, key, value = query[tokens], key[tokens], value[tokens]
        angles = Rotation(angles.cos[tokens], angles.sin[tokens])
    cos, sin = angles.cos.numpy(), angles.sin.numpy()
    keys_and_values = buffer.numpy()
    _rotate_into(
        query.numpy(),
        key.numpy(),
        value.numpy(),
        cos,
        sin,
        keys_and_values,
        round_.rows,
        round_.places,
    )
    if query.shape[1] * query.shape[2] * round_.products > ONE_THREAD_PRODUCTS:
        out[tokens] = attend(query, buffer, round_.padded(query.device))
        return
    mixed = out if whole else torch.empty_like(query)
    _attend(
        query.numpy(),
        keys_and_values,
        round_.rows,
        round_.first,
        round_.end,
        round_.ancestors,
        mixed.numpy(),
    )
    if not whole:
        out[tokens] = mixed


@compiled
def _normalize(
    rows: Array, weight: Array, offset: np.float32, epsilon: np.float32, out: Array
) -> None:
    width = np.float32(rows.shape[1])
    for row in range(rows.shape[0]):
        total = np.float32(0.0)
        for i in range(rows.shape[1]):
            total += rows[row, i] * rows[row, i]
        inverse = np.float32(1.0) / np.sqrt(total / width + epsilon)
        for i in range(rows.shape[1]):
            out[row, i] = rows[row, i] * inverse * (weight[i] + offset)


@compiled
def _rotate_into(
    query: Array,
    key: Array,
    value: Array,
    cos: Array,
    sin: Array,
    buffer: Array,
    rows: Integers,
    places: Integers,
) -> None:
    """Rotate ``query`` in place; write the rotated keys and the values to their places."""
    half = cos.shape[1]
    for t in range(query.shape[0]):
        row, place = rows[t], places[t]
        for head in range(query.shape[1]):
            for i in range(half):
                first, second = query[t, head, i], query[t, head, half + i]
                query[t, head, i] = first * cos[t, i] - second * sin[t, i]
                query[t, head, half + i] = second * cos[t, i] + first * sin[t, i]
        for head in range(key.shape[1]):
            for i in range(half):
                first, second = key[t, head, i], key[t, head, half + i]
                buffer[0, row, head, place, i] = first * cos[t, i] - second * sin[t, i]
                buffer[0, row, head, place, half + i] = second * cos[t, i] + first * sin[t, i]
            for i in range(value.shape[2]):
                buffer[1, row, head, place, i] = value[t, head, i]


@compiled
def _attend(
    query: Array,
    buffer: Array,
    rows: Integers,
    first: Integers,
    end: Integers,
    ancestors: Integers,
    out: Array,
) -> None:
    """Softmax attention over each symbol's places ``first:end`` and its ancestors' places."""
    head_width = query.shape[2]
    group = query.shape[1] // buffer.shape[2]
    scale = np.float32(1.0 / math.sqrt(head_width))
    most = 0
    for t in range(query.shape[0]):
        most = max(most, end[t] - first[t])
    scores = np.empty(most + ancestors.shape[1], dtype=np.float32)
    mixed = np.empty(head_width, dtype=np.float32)
    for t in range(query.shape[0]):
        count = end[t] - first[t]
        extra = 0
        while extra < ancestors.shape[1] and ancestors[t, extra] >= 0:
            extra += 1
        for head in range(query.shape[1]):
            keys = buffer[0, rows[t], head // group]
            values = buffer[1, rows[t], head // group]
            largest = np.float32(-np.inf)
            for m in range(count + extra):
                place = first[t] + m if m < count else ancestors[t, m - count]
                score = np.float32(0.0)
                for i in range(head_width):
                    score += query[t, head, i] * keys[place, i]
                scores[m] = score * scale
                largest = max(largest, scores[m])
            total = np.float32(0.0)
            for m in range(count + extra):
                scores[m] = np.exp(scores[m] - largest)
                total += scores[m]
            mixed[:] = np.float32(0.0)
            for m in range(count + extra):
                place = first[t] + m if m < count else ancestors[t, m - count]
                for i in range(head_width):
                    mixed[i] += scores[m] * values[place, i]
            for i in range(head_width):
                out[t, head, i] = mixed[i] / total
