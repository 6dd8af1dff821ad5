"""Products of a few rows with a weight matrix: what a pass of a few symbols is made of.

A matrix product library packs its operands before it multiplies, which pays for many rows. For the
handful of symbols of one verification it is faster to read four rows of the weights, which come
from memory, and to multiply them with four of ours at a time, in registers.

Weights are float32, or bfloat16 as its bits (uint16): half to read where reading is what takes
time. A product widens them; sums are float32 either way.

Shapes: ``T`` rows (symbols) of ``K`` channels, a weight with ``N`` outputs ``[N, K]``. A name ends
in its array's axes: ``out_tn`` is ``[T, N]``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from proxylm.models.kernels.decoding.compiled import compiled, inlined
from proxylm.models.kernels.decoding.machine import widened

MOST_ROWS = 16
"""How many rows are few."""

FEW_PRODUCTS = 1 << 22
"""Above this many multiplications a pool of threads is worth starting, where there is one."""

Array = NDArray[np.float32]
Weights = NDArray[np.float32] | NDArray[np.uint16]
"""Float32, or the bits of bfloat16."""


def weights_of(weight: Tensor) -> Weights:
    """The kernels' view of a weight; of its memory, where that is contiguous."""
    weight = weight.detach().contiguous()
    if weight.dtype is torch.bfloat16:
        bits: Weights = weight.view(torch.int16).numpy().view(np.uint16)
        return bits
    floats: Weights = weight.numpy()
    return floats


def linear(rows: Tensor, weight: Tensor) -> Tensor:
    """``rows [T, K]`` times ``weight [N, K]`` transposed, float32 ``[T, N]``."""
    if not are_few(rows, weight):
        return F.linear(rows, weight.float())
    out = rows.new_zeros(rows.shape[0], weight.shape[0])
    add_products(rows.numpy(), weights_of(weight), out.numpy())
    return out


def add_linear(to: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """``to [T, N]`` plus ``linear(rows, weight)``."""
    if not are_few(rows, weight):
        return to.addmm(rows, weight.float().t())
    out = to.clone()
    add_products(rows.numpy(), weights_of(weight), out.numpy())
    return out


def are_few(rows: Tensor, weight: Tensor) -> bool:
    """Whether the products are better made here than by the library."""
    count = rows.shape[0]
    if not 0 < count <= MOST_ROWS:
        return False
    return count * weight.numel() <= FEW_PRODUCTS or torch.get_num_threads() == 1


@compiled
def add_products(rows_tk: Array, weight_nk: Weights, out_tn: Array) -> None:
    """Add ``rows [T, K]`` times ``weight [N, K]`` transposed to ``out [T, N]``.

    The weight is by far the largest operand. The first symbol goes along its rows one after the
    other, since one stream is what memory gives fastest (two rows in turn came at half the speed);
    the further symbols then meet four of its rows while those are in the cache.
    """
    count, outputs = rows_tk.shape[0], weight_nk.shape[0]
    # Behind the first symbol fours, then a pair, then one: each tile reads the weights once.
    fours = 1 + (count - 1) // 4 * 4
    pairs = fours + (count - fours) // 2 * 2
    outputs_in_fours = outputs // 4 * 4
    for n in range(0, outputs_in_fours, 4):
        for one in range(n, n + 4):
            _add_one(rows_tk[0], weight_nk[one], out_tn[0], one)
        for t in range(1, fours, 4):
            _add_four_by_four(rows_tk, weight_nk, out_tn, t, n)
        for t in range(fours, pairs, 2):
            _add_two_by_four(rows_tk, weight_nk, out_tn, t, n)
        for t in range(pairs, count):
            _add_one_by_four(rows_tk[t], weight_nk, out_tn[t], n)
    for n in range(outputs_in_fours, outputs):
        for t in range(count):
            _add_one(rows_tk[t], weight_nk[n], out_tn[t], n)


# Below every sum has a name: numba keeps single names in registers, arrays of sums in memory.


@inlined
def _add_one(x: Array, w: Weights, out_n: Array, n: int) -> None:
    """A symbol ``x [K]`` times a row of the weight ``w [K]``."""
    total = np.float32(0.0)
    for k in range(len(w)):
        total += widened(w[k]) * x[k]
    out_n[n] += total


@inlined
def _add_one_by_four(x: Array, weight_nk: Weights, out_n: Array, n: int) -> None:
    """A symbol ``x [K]`` times the rows ``n`` to ``n + 3`` of the weight."""
    w0, w1, w2, w3 = weight_nk[n], weight_nk[n + 1], weight_nk[n + 2], weight_nk[n + 3]
    a0 = b0 = c0 = d0 = np.float32(0.0)
    for k in range(len(x)):
        a0 += widened(w0[k]) * x[k]
        b0 += widened(w1[k]) * x[k]
        c0 += widened(w2[k]) * x[k]
        d0 += widened(w3[k]) * x[k]
    _add_four(out_n, n, a0, b0, c0, d0)


@inlined
def _add_two_by_four(rows_tk: Array, weight_nk: Weights, out_tn: Array, t: int, n: int) -> None:
    """Symbols ``t`` and ``t + 1`` times the rows ``n`` to ``n + 3`` of the weight."""
    x0, x1 = rows_tk[t], rows_tk[t + 1]
    w0, w1, w2, w3 = weight_nk[n], weight_nk[n + 1], weight_nk[n + 2], weight_nk[n + 3]
    a0 = b0 = c0 = d0 = a1 = b1 = c1 = d1 = np.float32(0.0)
    for k in range(len(x0)):
        a, b, c, d = widened(w0[k]), widened(w1[k]), widened(w2[k]), widened(w3[k])
        a0 += a * x0[k]
        b0 += b * x0[k]
        c0 += c * x0[k]
        d0 += d * x0[k]
        a1 += a * x1[k]
        b1 += b * x1[k]
        c1 += c * x1[k]
        d1 += d * x1[k]
    _add_four(out_tn[t], n, a0, b0, c0, d0)
    _add_four(out_tn[t + 1], n, a1, b1, c1, d1)


@inlined
def _add_four_by_four(rows_tk: Array, weight_nk: Weights, out_tn: Array, t: int, n: int) -> None:
    """Symbols ``t`` to ``t + 3`` times the rows ``n`` to ``n + 3`` of the weight."""
    x0, x1, x2, x3 = rows_tk[t], rows_tk[t + 1], rows_tk[t + 2], rows_tk[t + 3]
    w0, w1, w2, w3 = weight_nk[n], weight_nk[n + 1], weight_nk[n + 2], weight_nk[n + 3]
    a0 = b0 = c0 = d0 = a1 = b1 = c1 = d1 = np.float32(0.0)
    a2 = b2 = c2 = d2 = a3 = b3 = c3 = d3 = np.float32(0.0)
    for k in range(len(x0)):
        a, b, c, d = widened(w0[k]), widened(w1[k]), widened(w2[k]), widened(w3[k])
        a0 += a * x0[k]
        b0 += b * x0[k]
        c0 += c * x0[k]
        d0 += d * x0[k]
        a1 += a * x1[k]
        b1 += b * x1[k]
        c1 += c * x1[k]
        d1 += d * x1[k]
        a2 += a * x2[k]
        b2 += b * x2[k]
        c2 += c * x2[k]
        d2 += d * x2[k]
        a3 += a * x3[k]
        b3 += b * x3[k]
        c3 += c * x3[k]
        d3 += d * x3[k]
    _add_four(out_tn[t], n, a0, b0, c0, d0)
    _add_four(out_tn[t + 1], n, a1, b1, c1, d1)
    _add_four(out_tn[t + 2], n, a2, b2, c2, d2)
    _add_four(out_tn[t + 3], n, a3, b3, c3, d3)


@inlined
def _add_four(out_n: Array, n: int, a: Any, b: Any, c: Any, d: Any) -> None:
    """Four sums to ``n`` and the three places behind it."""
    out_n[n] += a
    out_n[n + 1] += b
    out_n[n + 2] += c
    out_n[n + 3] += d
