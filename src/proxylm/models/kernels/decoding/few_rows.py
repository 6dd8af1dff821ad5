"""Products of a few rows with a weight matrix: what a pass of a few symbols is made of.

A matrix product library packs its operands before it multiplies, which pays for many rows. For the
handful of symbols of one verification, reading two rows of the weights at a time and multiplying
each with four of ours, in registers, is faster.

Shapes: ``T`` rows (symbols) of ``K`` channels, a weight with ``N`` outputs ``[N, K]``. A name ends
in its array's axes: ``out_tn`` is ``[T, N]``.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from proxylm.models.kernels.decoding.compiled import compiled

MOST_ROWS = 16
"""How many rows are few."""

FEW_PRODUCTS = 1 << 22
"""Above this many multiplications a pool of threads is worth starting, where there is one."""

Array = NDArray[np.float32]


def linear(rows: Tensor, weight: Tensor) -> Tensor:
    """``rows [T, K]`` times ``weight [N, K]`` transposed, float32 ``[T, N]``."""
    if not are_few(rows, weight):
        return F.linear(rows, weight)
    out = rows.new_zeros(rows.shape[0], weight.shape[0])
    add_products(rows.numpy(), weight.detach().numpy(), out.numpy())
    return out


def add_linear(to: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """``to [T, N]`` plus ``linear(rows, weight)``."""
    if not are_few(rows, weight):
        return to.addmm(rows, weight.t())
    out = to.clone()
    add_products(rows.numpy(), weight.detach().numpy(), out.numpy())
    return out


def are_few(rows: Tensor, weight: Tensor) -> bool:
    """Whether the products are better made here than by the library."""
    count = rows.shape[0]
    if not 0 < count <= MOST_ROWS:
        return False
    return count * weight.numel() <= FEW_PRODUCTS or torch.get_num_threads() == 1


@compiled
def add_products(rows_tk: Array, weight_nk: Array, out_tn: Array) -> None:
    """Add ``rows [T, K]`` times ``weight [N, K]`` transposed to ``out [T, N]``.

    The weight is by far the largest operand: its rows are read once, in pairs (``a`` and ``b``),
    and meet all ``T`` rows while they are in the cache. Eight sums at a time fill the registers
    without spilling; what is left of the rows goes in a pair and one by one.
    """
    count, size = rows_tk.shape
    paired = weight_nk.shape[0] // 2 * 2
    for n in range(0, paired, 2):
        w0, w1 = weight_nk[n], weight_nk[n + 1]
        for t in range(0, count // 4 * 4, 4):
            x0, x1, x2, x3 = rows_tk[t], rows_tk[t + 1], rows_tk[t + 2], rows_tk[t + 3]
            # Written out: numba keeps single names in registers, arrays of sums in memory.
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = np.float32(0.0)
            for k in range(size):
                a0 += w0[k] * x0[k]
                a1 += w0[k] * x1[k]
                a2 += w0[k] * x2[k]
                a3 += w0[k] * x3[k]
                b0 += w1[k] * x0[k]
                b1 += w1[k] * x1[k]
                b2 += w1[k] * x2[k]
                b3 += w1[k] * x3[k]
            out_tn[t, n] += a0
            out_tn[t + 1, n] += a1
            out_tn[t + 2, n] += a2
            out_tn[t + 3, n] += a3
            out_tn[t, n + 1] += b0
            out_tn[t + 1, n + 1] += b1
            out_tn[t + 2, n + 1] += b2
            out_tn[t + 3, n + 1] += b3
        done = count // 4 * 4
        if count - done >= 2:
            x0, x1 = rows_tk[done], rows_tk[done + 1]
            a0 = a1 = b0 = b1 = np.float32(0.0)
            for k in range(size):
                a0 += w0[k] * x0[k]
                a1 += w0[k] * x1[k]
                b0 += w1[k] * x0[k]
                b1 += w1[k] * x1[k]
            out_tn[done, n] += a0
            out_tn[done + 1, n] += a1
            out_tn[done, n + 1] += b0
            out_tn[done + 1, n + 1] += b1
            done += 2
        for t in range(done, count):
            x0 = rows_tk[t]
            a0 = b0 = np.float32(0.0)
            for k in range(size):
                a0 += w0[k] * x0[k]
                b0 += w1[k] * x0[k]
            out_tn[t, n] += a0
            out_tn[t, n + 1] += b0
    if paired < weight_nk.shape[0]:  # an odd number of outputs: the last one alone
        for t in range(count):
            a0 = np.float32(0.0)
            for k in range(size):
                a0 += weight_nk[paired, k] * rows_tk[t, k]
            out_tn[t, paired] += a0
