"""The loops of a step: norm, rotation, attention over the cache; halves of a block made of them.

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

``buffer_2bgpd`` has keys at index 0 and values at 1. Of each symbol ``row_t`` and ``place_t`` say
where its key goes; it sees the places ``first_t`` ... ``end_t - 1`` and those in ``ancestors_ta``,
all of its own row (``proxylm.models.feed.Round``).

Weights of a norm are three arguments: ``norm_w``, what is added to it (``offset``, 1 for EVA) and
``epsilon``. Arguments are flat because numba unpacks a record at every call, which a small model's
step would feel: two calls a layer.
"""

from __future__ import annotations

import math

import numpy as np

from proxylm.models.feed import Integers
from proxylm.models.kernels.decoding.compiled import compiled
from proxylm.models.kernels.decoding.few_rows import Array, add_products


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
                scores[m] = np.exp(scores[m] - largest)
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
def add_attention(
    residual_tw: Array,
    norm_w: Array,
    offset: float,
    epsilon: float,
    query_weight_ow: Array,
    key_weight_ow: Array,
    value_weight_ow: Array,
    out_weight_wo: Array,
    cos_te: Array,
    sin_te: Array,
    buffer_2bgpd: Array,
    row_t: Integers,
    place_t: Integers,
    first_t: Integers,
    end_t: Integers,
    ancestors_ta: Integers,
) -> None:
    """First half of a block: add attention over the cache to the residual stream."""
    count, head_width = residual_tw.shape[0], buffer_2bgpd.shape[4]
    normed_tw = np.empty_like(residual_tw)
    normalize(residual_tw, norm_w, offset, epsilon, normed_tw)
    query_to = np.zeros((count, query_weight_ow.shape[0]), dtype=np.float32)
    key_to = np.zeros((count, key_weight_ow.shape[0]), dtype=np.float32)
    value_to = np.zeros((count, value_weight_ow.shape[0]), dtype=np.float32)
    add_products(normed_tw, query_weight_ow, query_to)
    add_products(normed_tw, key_weight_ow, key_to)
    add_products(normed_tw, value_weight_ow, value_to)
    query_thd = query_to.reshape(count, -1, head_width)
    rotate_into(
        query_thd,
        key_to.reshape(count, -1, head_width),
        value_to.reshape(count, -1, head_width),
        cos_te,
        sin_te,
        buffer_2bgpd,
        row_t,
        place_t,
    )
    mixed_thd = np.empty_like(query_thd)
    attend(query_thd, buffer_2bgpd, row_t, first_t, end_t, ancestors_ta, mixed_thd)
    add_products(mixed_thd.reshape(count, -1), out_weight_wo, residual_tw)


@compiled
def expand(
    residual_tw: Array,
    norm_w: Array,
    offset: float,
    epsilon: float,
    gate_weight_fw: Array,
    up_weight_fw: Array,
    gate_tf: Array,
    up_tf: Array,
) -> None:
    """Second half as far as its activation: add the two inner products to ``gate`` and ``up``."""
    normed_tw = np.empty_like(residual_tw)
    normalize(residual_tw, norm_w, offset, epsilon, normed_tw)
    add_products(normed_tw, gate_weight_fw, gate_tf)
    add_products(normed_tw, up_weight_fw, up_tf)
