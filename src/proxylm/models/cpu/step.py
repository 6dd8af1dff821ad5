"""One position through a block on a CPU: the matrix products, and as little else as possible.

A single position does so little work per operation that calling it costs more than doing it, and
a thread pool costs more than both. Norms, rotation and attention over the cache are therefore
three compiled loops on one thread; everything else is a matrix product. ``Block.step`` is the
reference the tests compare with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from proxylm.models.blocks import Block
from proxylm.models.cache import LayerCache, attend
from proxylm.models.norm import RMSNorm
from proxylm.models.rotary import Rotation

ONE_THREAD_PRODUCTS = 1 << 20
"""Up to this many products ``B H M D``, one thread attends faster than a pool could start."""

Array = NDArray[np.float32]
Kernel = TypeVar("Kernel", bound=Callable[..., object])


def step_block(block: Block, x: Tensor, rotation: Rotation, cache: LayerCache) -> Tensor:
    """``Block.step`` for one further position: float32 ``[B, 1, width]`` in and out."""
    rows = x[:, 0]
    attention, mlp = block.self_attn, block.mlp
    normed = _normalized(rows, block.input_layernorm)
    query, key, value = (
        F.linear(normed, projection.weight).unflatten(1, (-1, attention.head_width))
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    mixed = _attend_through(cache, query, key, value, rotation)
    cache.close_slot(attention.summary_vectors)
    rows = rows.addmm(mixed.flatten(1), attention.o_proj.weight.t())
    normed = _normalized(rows, block.post_attention_layernorm)
    inner = F.silu(F.linear(normed, mlp.gate_proj.weight), inplace=True)
    inner.mul_(F.linear(normed, mlp.up_proj.weight))
    return rows.addmm(inner, mlp.down_proj.weight.t())[:, None]


def _normalized(rows: Tensor, norm: RMSNorm) -> Tensor:
    out = rows.new_empty(rows.shape)
    offset = 1.0 if norm.unit_offset else 0.0
    weight = norm.weight.detach().numpy()
    _normalize(rows.numpy(), weight, np.float32(offset), np.float32(norm.epsilon), out.numpy())
    return out


def _attend_through(
    cache: LayerCache, query: Tensor, key: Tensor, value: Tensor, rotation: Rotation
) -> Tensor:
    # query [B, H, D]; key, value [B, H_kv, D], all without rotation -> [B, H, D]
    slot = cache.open_slot(key)
    cos, sin = (angles.flatten().numpy() for angles in rotation)
    buffer = slot.buffer.numpy()
    _rotate_into(query.numpy(), key.numpy(), value.numpy(), cos, sin, buffer, slot.end - 1)
    count = slot.end - slot.first
    if query.numel() * count > ONE_THREAD_PRODUCTS:
        seen = slot.buffer[:, :, :, slot.first : slot.end]
        return attend(query[:, None], seen[0], seen[1], seen_before=count - 1)[:, 0]
    out = query.new_empty(query.shape)
    scratch = np.empty(count + query.shape[2], dtype=np.float32)
    _attend(query.numpy(), buffer, slot.first, slot.end, scratch, out.numpy())
    return out


def _compiled(function: Kernel) -> Kernel:
    # Sums may be reordered, as every vectorized matrix product does; NaN and infinity keep
    # their meaning.
    options: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz", "arcp"}, "nogil": True}
    try:
        return cast(Kernel, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to keep the cache: compile in every process
        return cast(Kernel, numba.njit(**options)(function))


@_compiled
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


@_compiled
def _rotate_into(
    query: Array, key: Array, value: Array, cos: Array, sin: Array, buffer: Array, place: int
) -> None:
    """Rotate ``query`` in place; write the rotated key and the value to ``place``."""
    half = cos.shape[0]
    for row in range(query.shape[0]):
        for head in range(query.shape[1]):
            for i in range(half):
                first, second = query[row, head, i], query[row, head, half + i]
                query[row, head, i] = first * cos[i] - second * sin[i]
                query[row, head, half + i] = second * cos[i] + first * sin[i]
        for head in range(key.shape[1]):
            for i in range(half):
                first, second = key[row, head, i], key[row, head, half + i]
                buffer[0, row, head, place, i] = first * cos[i] - second * sin[i]
                buffer[0, row, head, place, half + i] = second * cos[i] + first * sin[i]
            for i in range(value.shape[2]):
                buffer[1, row, head, place, i] = value[row, head, i]


@_compiled
def _attend(query: Array, buffer: Array, first: int, end: int, scratch: Array, out: Array) -> None:
    """Softmax attention over ``buffer[..., first:end, :]``; ``scratch`` is ``[M + D]``."""
    head_width = query.shape[2]
    group = query.shape[1] // buffer.shape[2]
    scale = np.float32(1.0 / math.sqrt(head_width))
    count = end - first
    scores, mixed = scratch[:count], scratch[count:]
    for row in range(query.shape[0]):
        for head in range(query.shape[1]):
            keys, values = buffer[0, row, head // group], buffer[1, row, head // group]
            largest = np.float32(-np.inf)
            for m in range(count):
                score = np.float32(0.0)
                for i in range(head_width):
                    score += query[row, head, i] * keys[first + m, i]
                scores[m] = score * scale
                largest = max(largest, scores[m])
            for m in range(count):
                scores[m] = np.exp(scores[m] - largest)
            total = np.float32(0.0)
            mixed[:] = np.float32(0.0)
            for m in range(count):
                total += scores[m]
                for i in range(head_width):
                    mixed[i] += scores[m] * values[first + m, i]
            for i in range(head_width):
                out[row, head, i] = mixed[i] / total
