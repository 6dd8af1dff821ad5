"""A few symbols through a block on a CPU: the matrix products, and as little else as possible.

A single symbol does so little work per operation that calling it costs more than doing it, and a
thread pool costs more than both. A few symbols therefore go through a block in three compiled
loops on one thread, with one activation in between. For more symbols, a prompt's, the products
are the library's, and norms, rotation and attention over the cache are loops. ``Block.step`` is
the reference the tests compare with.

Shapes: ``T`` symbols of a pass, ``t`` of one round of it; rotation ``[T, 1, D/2]``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxylm.models.blocks import Block
from proxylm.models.cache import LayerCache, attend
from proxylm.models.feed import Feed, Round
from proxylm.models.kernels.decoding import loops
from proxylm.models.kernels.decoding.few_rows import (
    Array,
    add_linear,
    add_products,
    are_few,
    linear,
)
from proxylm.models.norm import RMSNorm
from proxylm.models.rotary import Rotation

ONE_THREAD_PRODUCTS = 1 << 20
"""Up to this many products ``B H M D``, one thread attends faster than a pool could start."""


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
    """Views of a block's weights as the loops take them, kept with its cache.

    To ask seven modules for their parameters takes longer than a small model's products.

    Attributes:
        heads: of keys and values, and the width of one.
        first_norm, second_norm: see ``_norm_arrays``.
        projections: of queries, keys, values and output; ``[outputs, inputs]`` like all weights.
    """

    heads: tuple[int, int]
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
    """Weight, what is added to it, and epsilon, as ``loops.normalize`` takes them."""
    return norm.weight.detach().numpy(), 1.0 if norm.unit_offset else 0.0, norm.epsilon


def _step_few(block: Block, x: Tensor, rotation: Rotation, cache: LayerCache, feed: Feed) -> Tensor:
    if cache.block_arrays is None:
        cache.block_arrays = _arrays_of(block)
    weights: BlockArrays = cache.block_arrays
    like = x.new_empty(0, *weights.heads)
    [(round_, buffer)] = cache.rounds(feed, like, block.self_attn.summary_vectors)
    rows = x.clone()
    out = rows.numpy()
    loops.add_attention(
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
    # torch's silu in between: its exp is vectorized, numba's is one call a number.
    loops.expand(out, *weights.second_norm, weights.gate, weights.up, gate.numpy(), up.numpy())
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
    mixed = torch.empty_like(query)
    for round_, buffer in cache.rounds(feed, key, attention.summary_vectors):
        tokens = round_.tokens
        angles = Rotation(rotation.cos[tokens, 0], rotation.sin[tokens, 0])
        mixed[tokens] = _attend_round(
            query[tokens], key[tokens], value[tokens], angles, buffer, round_
        )
    rows = add_linear(x, mixed.flatten(1), attention.o_proj.weight)
    normed = _normalized(rows, block.post_attention_layernorm)
    inner = F.silu(linear(normed, mlp.gate_proj.weight), inplace=True)
    inner.mul_(linear(normed, mlp.up_proj.weight))
    return add_linear(rows, inner, mlp.down_proj.weight)


def _normalized(rows: Tensor, norm: RMSNorm) -> Tensor:
    out = rows.new_empty(rows.shape)
    loops.normalize(rows.numpy(), *_norm_arrays(norm), out.numpy())
    return out


def _attend_round(
    query: Tensor, key: Tensor, value: Tensor, angles: Rotation, buffer: Tensor, round_: Round
) -> Tensor:
    """Attention ``[t, H, D]`` of a round's symbols, given before rotation. Uses ``query`` up."""
    keys_and_values = buffer.numpy()
    loops.rotate_into(
        query.numpy(),
        key.numpy(),
        value.numpy(),
        angles.cos.numpy(),
        angles.sin.numpy(),
        keys_and_values,
        round_.rows,
        round_.places,
    )
    if not _is_small(query.shape[1] * query.shape[2], round_):
        return attend(query, buffer, round_.padded(query.device))
    mixed = torch.empty_like(query)
    loops.attend(
        query.numpy(),
        keys_and_values,
        round_.rows,
        round_.first,
        round_.end,
        round_.ancestors,
        mixed.numpy(),
    )
    return mixed
