"""A few symbols through a block on a CPU: the matrix products, and as little else as possible.

A single symbol does so little work per operation that calling it costs more than doing it, and a
thread pool costs more than both. A few symbols therefore go through a block in three compiled
loops on one thread, with one activation in between. For more symbols, a prompt's, the products
are the library's, and norms, rotation and attention over the cache are loops. ``Block.step`` is
the reference the tests compare with.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from proxylm.models.blocks import Block
from proxylm.models.cache import LayerCache, attend
from proxylm.models.feed import Feed, Integers, Round
from proxylm.models.kernels.cpu.compiled import compiled
from proxylm.models.kernels.cpu.few_rows import add_linear, add_products, are_few, linear
from proxylm.models.norm import RMSNorm
from proxylm.models.rotary import Rotation

ONE_THREAD_PRODUCTS = 1 << 20
"""Up to this many products ``B H M D``, one thread attends faster than a pool could start."""

Array = NDArray[np.float32]


def step_block(
    block: Block, x: Tensor, rotation: Rotation, cache: LayerCache, feed: Feed
) -> Tensor:
    """``Block.step``: float32 ``[T, width]`` in and out."""
    [first_round, *further] = feed.rounds
    few = not further and are_few(x, block.mlp.gate_proj.weight)
    if few and _is_small(x.shape[1], first_round):
        return _step_few(block, x, rotation, cache, feed)
    return _step_many(block, x, rotation, cache, feed)


def _is_small(width: int, round_: Round) -> bool:
    """Whether one thread attends faster than a pool could start; ``width`` is that of queries."""
    return width * round_.products <= ONE_THREAD_PRODUCTS


class BlockArrays(NamedTuple):
    """Views of a block's weights: what the loops take, without asking for them every time."""

    heads: tuple[int, int]  # of keys and values, and the width of one
    first_norm: tuple[Array, float, float]
    projections: tuple[Array, Array, Array, Array]
    second_norm: tuple[Array, float, float]
    gate: Array
    up: Array
    down: Array


def _arrays_of(block: Block) -> BlockArrays:
    attention, mlp = block.self_attn, block.mlp
    return BlockArrays(
        heads=(attention.k_proj.out_features // attention.head_width, attention.head_width),
        first_norm=_norm_arrays(block.input_layernorm),
        projections=(
            _array(attention.q_proj),
            _array(attention.k_proj),
            _array(attention.v_proj),
            _array(attention.o_proj),
        ),
        second_norm=_norm_arrays(block.post_attention_layernorm),
        gate=_array(mlp.gate_proj),
        up=_array(mlp.up_proj),
        down=_array(mlp.down_proj),
    )


def _array(projection: nn.Linear) -> Array:
    array: Array = projection.weight.detach().numpy()
    return array


def _norm_arrays(norm: RMSNorm) -> tuple[Array, float, float]:
    """Weight, what is added to it, and epsilon, as ``_normalize`` takes them."""
    return norm.weight.detach().numpy(), 1.0 if norm.unit_offset else 0.0, norm.epsilon


def _step_few(block: Block, x: Tensor, rotation: Rotation, cache: LayerCache, feed: Feed) -> Tensor:
    if cache.block_arrays is None:
        cache.block_arrays = _arrays_of(block)
    weights: BlockArrays = cache.block_arrays
    like = x.new_empty(0, *weights.heads)
    [(round_, buffer)] = cache.rounds(feed, like, block.self_attn.summary_vectors)
    rows = x.clone()
    out = rows.numpy()
    _add_attention(
        out,
        *weights.first_norm,
        *weights.projections,
        rotation.cos.numpy()[:, 0],
        rotation.sin.numpy()[:, 0],
        buffer.numpy(),
        round_.rows,
        round_.places,
        round_.first,
        round_.end,
        round_.ancestors,
    )
    gate, up = x.new_zeros(2, len(x), len(weights.gate)).unbind()
    _expand(out, *weights.second_norm, weights.gate, weights.up, gate.numpy(), up.numpy())
    activated = F.silu(gate, inplace=True).mul_(up)
    add_products(activated.numpy(), weights.down, out)
    return rows


def _step_many(
    block: Block, x: Tensor, rotation: Rotation, cache: LayerCache, feed: Feed
) -> Tensor:
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
    _normalize(rows.numpy(), *_norm_arrays(norm), out.numpy())
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
    if not _is_small(query.shape[1] * query.shape[2], round_):
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
def _normalize(rows: Array, weight: Array, offset: float, epsilon: float, out: Array) -> None:
    width = np.float32(rows.shape[1])
    for row in range(rows.shape[0]):
        total = np.float32(0.0)
        for i in range(rows.shape[1]):
            total += rows[row, i] * rows[row, i]
        inverse = np.float32(1.0) / np.sqrt(total / width + np.float32(epsilon))
        for i in range(rows.shape[1]):
            out[row, i] = rows[row, i] * inverse * (weight[i] + np.float32(offset))


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


@compiled
def _add_attention(
    residual: Array,
    norm: Array,
    offset: float,
    epsilon: float,
    w_query: Array,
    w_key: Array,
    w_value: Array,
    w_out: Array,
    cos: Array,
    sin: Array,
    buffer: Array,
    rows: Integers,
    places: Integers,
    first: Integers,
    end: Integers,
    ancestors: Integers,
) -> None:
    """Add a block's attention over the cache to ``residual [T, width]``."""
    count, head_width = residual.shape[0], buffer.shape[4]
    normed = np.empty_like(residual)
    _normalize(residual, norm, offset, epsilon, normed)
    query = np.zeros((count, w_query.shape[0]), dtype=np.float32)
    key = np.zeros((count, w_key.shape[0]), dtype=np.float32)
    value = np.zeros((count, w_value.shape[0]), dtype=np.float32)
    add_products(normed, w_query, query)
    add_products(normed, w_key, key)
    add_products(normed, w_value, value)
    by_head = query.reshape(count, -1, head_width)
    _rotate_into(
        by_head,
        key.reshape(count, -1, head_width),
        value.reshape(count, -1, head_width),
        cos,
        sin,
        buffer,
        rows,
        places,
    )
    mixed = np.empty_like(by_head)
    _attend(by_head, buffer, rows, first, end, ancestors, mixed)
    add_products(mixed.reshape(count, -1), w_out, residual)


@compiled
def _expand(
    residual: Array,
    norm: Array,
    offset: float,
    epsilon: float,
    w_gate: Array,
    w_up: Array,
    gate: Array,
    up: Array,
) -> None:
    """Add the two inner products of ``residual [T, width]`` to ``gate`` and ``up [T, ffn]``."""
    normed = np.empty_like(residual)
    _normalize(residual, norm, offset, epsilon, normed)
    add_products(normed, w_gate, gate)
    add_products(normed, w_up, up)
