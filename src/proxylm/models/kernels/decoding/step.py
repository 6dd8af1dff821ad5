"""A few symbols through the blocks on a CPU: the matrix products, and as little else as possible.

A single symbol does so little work per operation that calling it costs more than doing it, and a
thread pool costs more than both. A few symbols therefore go through all blocks in one compiled
loop on one thread. For more symbols, a prompt's, or where a window ends, the products are the
library's, and norms, rotation and attention over the cache are loops. ``dispatch.step_modules`` is
the reference the tests compare with.

Shapes: ``T`` symbols of a pass, ``t`` of one round of it; rotation ``[T, 1, D/2]``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from proxylm.models.blocks import Block, Layers
from proxylm.models.cache import Cache, LayerCache, attend
from proxylm.models.feed import Feed, Room, Round
from proxylm.models.kernels.decoding import loops
from proxylm.models.kernels.decoding.few_rows import (
    Array,
    Weights,
    add_linear,
    are_few,
    linear,
    weights_of,
)
from proxylm.models.norm import RMSNorm
from proxylm.models.rotary import Rotation, inverse_frequencies, rotation_of
from proxylm.models.stored_matrices import Projection

ONE_THREAD_PRODUCTS = 1 << 23
"""Up to this many products of a round, divided by the threads that a pool would have, the loops
attend faster than the library, which pads every row to the one that sees most."""


def step_layers(layers: Layers, x: Tensor, cache: Cache, feed: Feed) -> Tensor:
    """All layers over a pass's symbols, embedded, to final states: ``[T, width]`` float32 both.

    Uses ``x`` up.
    """
    [first_round, *further] = feed.rounds
    first = layers.blocks[0]
    few = not (further or first_round.sealing) and are_few(x, first.mlp.gate_proj.weight)
    if few and _is_small(first.self_attn.q_proj.out_features, first_round):
        return _step_few(layers, x, cache, feed)
    rotation = rotation_of(torch.from_numpy(feed.position_ids), *layers.rope)
    for block, layer_cache in zip(layers.blocks, cache.layers, strict=True):
        x = _step_many(block, x, rotation, layer_cache, feed)
    return _normalized(x, layers.norm)


def _is_small(width: int, round_: Round) -> bool:
    """Whether the loops attend faster than the library; ``width`` is that of queries."""
    return width * round_.products * torch.get_num_threads() <= ONE_THREAD_PRODUCTS


class LayerArrays(NamedTuple):
    """Views of a block's weights as the loops take them; ``[outputs, inputs]`` like all weights."""

    first_norm: Array
    queries: Weights
    keys: Weights
    values: Weights
    output: Weights
    second_norm: Array
    gate: Weights
    up: Weights
    down: Weights


def _arrays_of(block: Block) -> LayerArrays:
    attention, mlp = block.self_attn, block.mlp
    norms = block.input_layernorm, block.post_attention_layernorm
    first, second = (norm.weight.detach().numpy() for norm in norms)
    projections = attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj
    inner = mlp.gate_proj, mlp.up_proj, mlp.down_proj
    return LayerArrays._make([first, *map(_weights, projections), second, *map(_weights, inner)])


def _weights(projection: Projection) -> Weights:
    return weights_of(projection.weight)


class StackArrays:
    """A model's layers as addresses, kept with a cache: to ask modules for their weights takes
    longer than a small model's products.

    Attributes:
        weights: int64 ``[L, 9]``, addresses of each layer's ``LayerArrays``.
        stored: nothing, of the type that their matrices have.
        widths: of all queries, and ``ffn``.
        norm: the last one; what the others add to their weights, and their epsilon, is the same.
        frequencies: float32 ``[D/2]``, of the rotation.
        buffers: int64 ``[L]``, addresses of the layers' buffers.
        buffer_shape: of each.
    """

    def __init__(self, layers: Layers) -> None:
        self._arrays = [_arrays_of(block) for block in layers.blocks]  # kept alive
        self.norm = _norm_arrays(layers.norm)
        self.frequencies = inverse_frequencies(*layers.rope).numpy()
        self.weights = np.array([[one.ctypes.data for one in layer] for layer in self._arrays])
        first = self._arrays[0]
        self.stored = np.empty((0, 0), first.queries.dtype)
        self.widths = len(first.queries), len(first.gate)
        self._room: Room | None = None
        self.buffers = np.empty(0, dtype=np.int64)
        self.buffer_shape = (0, 0, 0, 0, 0)
        attention = layers.blocks[0].self_attn
        width = attention.head_width
        self._like = torch.empty(0, attention.k_proj.out_features // width, width)

    def follow(self, cache: Cache, room: Room) -> None:
        """Take the addresses of buffers that have grown."""
        if room == self._room:
            return
        buffers = [layer.reserve(room, self._like) for layer in cache.layers]
        self.buffers = np.array([buffer.data_ptr() for buffer in buffers])
        two, rows, heads, places, width = buffers[0].shape
        self.buffer_shape = two, rows, heads, places, width
        self._room = room


def _step_few(layers: Layers, x: Tensor, cache: Cache, feed: Feed) -> Tensor:
    if cache.stack_arrays is None:
        cache.stack_arrays = StackArrays(layers)
    stack: StackArrays = cache.stack_arrays
    stack.follow(cache, feed.room)
    [round_] = feed.rounds
    x = x.contiguous()
    loops.step_layers(
        x.numpy(),
        stack.stored,
        stack.weights,
        stack.buffers,
        stack.buffer_shape,
        stack.widths,
        *stack.norm,
        feed.position_ids,
        stack.frequencies,
        round_.rows,
        round_.places,
        round_.first,
        round_.end,
        round_.ancestors,
    )
    return x


def _norm_arrays(norm: RMSNorm) -> tuple[Array, float, float]:
    """Weight, what is added to it, and epsilon, as ``loops.normalize`` takes them."""
    return norm.weight.detach().numpy(), 1.0 if norm.unit_offset else 0.0, norm.epsilon


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
