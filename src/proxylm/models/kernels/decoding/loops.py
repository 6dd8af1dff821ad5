"""The loops of a step: norm, rotation, attention over the cache; all blocks made of them.

One thread computes each; arrays are contiguous float32 and int64. A name ends in its array's axes,
``query_thd`` is ``[T, H, D]``:

    t  symbols of the pass (``T``), row after row
    w  channels of the residual stream (``width``)
    f  inner channels of the feed-forward layer (``ffn``)
    o  outputs of a projection, heads side by side
    h  heads of queries; ``g`` of keys and values (``H_kv``), each shared by ``H / H_kv``
    d  channels of a head (``D``); ``e`` half of them, which rotation pairs: i, D/2 + i
    b  rows of the cache; ``p`` places of a row, as ``proxylm.models.cache`` lays them out
    a  ancestors of a symbol in its tree, -1 beyond the last
    l  layers

``buffer_2bgpd`` has keys at index 0 and values at 1. Of each symbol ``row_t`` and ``place_t`` say
where its key goes; it sees the places ``first_t`` ... ``end_t - 1`` and those in ``ancestors_ta``,
all of its own row (``proxylm.models.feed.Round``).

Weights of a norm are three arguments: ``norm_w``, what is added to it (``offset``, 1 for EVA) and
``epsilon``.
"""

from __future__ import annotations

import math

import numpy as np

from proxylm.models.feed import Integers
from proxylm.models.kernels.decoding.compiled import compiled
from proxylm.models.kernels.decoding.few_rows import Array, Weights, add_products
from proxylm.models.kernels.decoding.machine import array_at, exponential


@compiled
def normalize(rows_tw: Array, norm_w: Array, offset: float, epsilon: float, out_tw: Array) -> None:
    """RMSNorm of every row."""
    # Every constant is made a float32: a float64 among them would make the whole loop float64.
    width = np.float32(rows_tw.shape[1])
    for t in range(rows_tw.shape[0]):
        total = np.float32(0.0)
        for i in range(rows_tw.shape[1]):
            total += rows_tw[t, i] * rows_tw[t, i]
        inverse = np.float32(1.0) / np.sqrt(total / width + np.float32(epsilon))
        for i in range(rows_tw.shape[1]):
            out_tw[t, i] = rows_tw[t, i] * inverse * (norm_w[i] + np.float32(offset))


@compiled
def rotate_into(
    query_thd: Array,
    key_tgd: Array,
    value_tgd: Array,
    cos_te: Array,
    sin_te: Array,
    buffer_2bgpd: Array,
    row_t: Integers,
    place_t: Integers,
) -> None:
    """Rotate the queries in place; write the rotated keys and the values to their places."""
    half = cos_te.shape[1]
    for t in range(query_thd.shape[0]):
        row, place = row_t[t], place_t[t]
        for h in range(query_thd.shape[1]):
            for i in range(half):
                first, second = query_thd[t, h, i], query_thd[t, h, half + i]
                query_thd[t, h, i] = first * cos_te[t, i] - second * sin_te[t, i]
                query_thd[t, h, half + i] = second * cos_te[t, i] + first * sin_te[t, i]
        for g in range(key_tgd.shape[1]):
            for i in range(half):
                first, second = key_tgd[t, g, i], key_tgd[t, g, half + i]
                buffer_2bgpd[0, row, g, place, i] = first * cos_te[t, i] - second * sin_te[t, i]
                buffer_2bgpd[0, row, g, place, half + i] = (
                    second * cos_te[t, i] + first * sin_te[t, i]
                )
            for i in range(value_tgd.shape[2]):
                buffer_2bgpd[1, row, g, place, i] = value_tgd[t, g, i]


@compiled
def attend(
    query_thd: Array,
    buffer_2bgpd: Array,
    row_t: Integers,
    first_t: Integers,
    end_t: Integers,
    ancestors_ta: Integers,
    out_thd: Array,
) -> None:
    """Softmax attention of rotated queries over what each symbol sees of its row."""
    head_width = query_thd.shape[2]
    group = query_thd.shape[1] // buffer_2bgpd.shape[2]
    scale = np.float32(1.0 / math.sqrt(head_width))
    most = 0
    for t in range(query_thd.shape[0]):
        most = max(most, end_t[t] - first_t[t])
    # Allocated once for all symbols and heads, as long as the one that sees most needs.
    scores = np.empty(most + ancestors_ta.shape[1], dtype=np.float32)
    mixed = np.empty(head_width, dtype=np.float32)
    for t in range(query_thd.shape[0]):
        count = end_t[t] - first_t[t]
        extra = 0
        while extra < ancestors_ta.shape[1] and ancestors_ta[t, extra] >= 0:
            extra += 1
        for h in range(query_thd.shape[1]):
            key_pd = buffer_2bgpd[0, row_t[t], h // group]
            value_pd = buffer_2bgpd[1, row_t[t], h // group]
            # Keys in the order in which they lie: first all scores, then their softmax (the
            # largest subtracted, so that exp cannot overflow), then the sum of the values.
            largest = np.float32(-np.inf)
            for m in range(count + extra):
                place = first_t[t] + m if m < count else ancestors_ta[t, m - count]
                score = np.float32(0.0)
                for i in range(head_width):
                    score += query_thd[t, h, i] * key_pd[place, i]
                scores[m] = score * scale
                largest = max(largest, scores[m])
            total = np.float32(0.0)
            for m in range(count + extra):
                scores[m] = exponential(scores[m] - largest)
                total += scores[m]
            # Summed apart from ``out``: for all the compiler knows, the values may lie there too.
            mixed[:] = np.float32(0.0)
            for m in range(count + extra):
                place = first_t[t] + m if m < count else ancestors_ta[t, m - count]
                for i in range(head_width):
                    mixed[i] += scores[m] * value_pd[place, i]
            for i in range(head_width):
                out_thd[t, h, i] = mixed[i] / total


@compiled
def activate(gate_tf: Array, up_tf: Array) -> None:
    """``silu(gate) * up``, in the place of ``gate``."""
    for t in range(gate_tf.shape[0]):
        for f in range(gate_tf.shape[1]):
            gate = gate_tf[t, f]
            gate_tf[t, f] = gate / (np.float32(1.0) + exponential(-gate)) * up_tf[t, f]


@compiled
def step_layers(
    residual_tw: Array,
    stored: Weights,
    weight_addresses_l9: Integers,
    buffer_addresses_l: Integers,
    buffer_shape: tuple[int, int, int, int, int],
    widths: tuple[int, int],
    norm_w: Array,
    offset: float,
    epsilon: float,
    position_t: Integers,
    frequency_e: Array,
    row_t: Integers,
    place_t: Integers,
    first_t: Integers,
    end_t: Integers,
    ancestors_ta: Integers,
) -> None:
    """All blocks, one after the other, and the last norm, over the residual stream.

    Of each layer come the addresses of its weights, in the order of ``step.LayerArrays``, and of
    its buffer, of ``buffer_shape``; matrices are of the type of ``stored``, an empty array.
    ``widths`` are those of all queries, and ``ffn``.
    """
    count, width = residual_tw.shape
    query_width, ffn = widths
    heads, head_width = buffer_shape[2], buffer_shape[4]
    key_width = heads * head_width
    normed_tw = np.empty_like(residual_tw)
    query_to = np.empty((count, query_width), dtype=np.float32)
    key_to = np.empty((count, key_width), dtype=np.float32)
    value_to = np.empty((count, key_width), dtype=np.float32)
    mixed_to = np.empty((count, query_width), dtype=np.float32)
    gate_tf = np.empty((count, ffn), dtype=np.float32)
    up_tf = np.empty((count, ffn), dtype=np.float32)
    cos_te = np.empty((count, len(frequency_e)), dtype=np.float32)
    sin_te = np.empty_like(cos_te)
    for t in range(count):
        for e in range(len(frequency_e)):
            angle = np.float32(position_t[t]) * frequency_e[e]
            cos_te[t, e], sin_te[t, e] = np.cos(angle), np.sin(angle)
    for layer in range(len(weight_addresses_l9)):
        at = weight_addresses_l9[layer]
        buffer_2bgpd = array_at(buffer_addresses_l[layer], buffer_shape, norm_w)
        normalize(residual_tw, array_at(at[0], (width,), norm_w), offset, epsilon, normed_tw)
        query_to[:] = np.float32(0.0)
        key_to[:] = np.float32(0.0)
        value_to[:] = np.float32(0.0)
        add_products(normed_tw, array_at(at[1], (query_width, width), stored), query_to)
        add_products(normed_tw, array_at(at[2], (key_width, width), stored), key_to)
        add_products(normed_tw, array_at(at[3], (key_width, width), stored), value_to)
        query_thd = query_to.reshape(count, -1, head_width)
        key_tgd = key_to.reshape(count, -1, head_width)
        value_tgd = value_to.reshape(count, -1, head_width)
        rotate_into(query_thd, key_tgd, value_tgd, cos_te, sin_te, buffer_2bgpd, row_t, place_t)
        mixed_thd = mixed_to.reshape(count, -1, head_width)
        attend(query_thd, buffer_2bgpd, row_t, first_t, end_t, ancestors_ta, mixed_thd)
        add_products(mixed_to, array_at(at[4], (width, query_width), stored), residual_tw)
        normalize(residual_tw, array_at(at[5], (width,), norm_w), offset, epsilon, normed_tw)
        gate_tf[:] = np.float32(0.0)
        up_tf[:] = np.float32(0.0)
        add_products(normed_tw, array_at(at[6], (ffn, width), stored), gate_tf)
        add_products(normed_tw, array_at(at[7], (ffn, width), stored), up_tf)
        activate(gate_tf, up_tf)
        add_products(gate_tf, array_at(at[8], (width, ffn), stored), residual_tw)
    normalize(residual_tw, norm_w, offset, epsilon, residual_tw)
