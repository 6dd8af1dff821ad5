"""Products of a few rows with a weight matrix: what a pass of a few symbols is made of.

A matrix product library packs its operands before it multiplies, which pays for many rows. For the
handful of symbols of one verification, reading two rows of the weights at a time and multiplying
each with four of ours, in registers, is faster.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from proxylm.models.kernels.cpu.compiled import compiled

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
def add_products(rows: Array, weight: Array, out: Array) -> None:
    """Add ``rows [T, K]`` times ``weight [N, K]`` transposed to ``out [T, N]``."""
    count, size = rows.shape
    paired = weight.shape[0] // 2 * 2
    for n in range(0, paired, 2):
        w0, w1 = weight[n], weight[n + 1]
        for t in range(0, count // 4 * 4, 4):
            x0, x1, x2, x3 = rows[t], rows[t + 1], rows[t + 2], rows[t + 3]
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
            out[t, n] += a0
            out[t + 1, n] += a1
            out[t + 2, n] += a2
            out[t + 3, n] += a3
            out[t, n + 1] += b0
            out[t + 1, n + 1] += b1
            out[t + 2, n + 1] += b2
            out[t + 3, n + 1] += b3
        done = count // 4 * 4
        if count - done >= 2:
            x0, x1 = rows[done], rows[done + 1]
            a0 = a1 = b0 = b1 = np.float32(0.0)
            for k in range(size):
                a0 += w0[k] * x0[k]
                a1 += w0[k] * x1[k]
                b0 += w1[k] * x0[k]
                b1 += w1[k] * x1[k]
            out[done, n] += a0
            out[done + 1, n] += a1
            out[done, n + 1] += b0
            out[done + 1, n + 1] += b1
            done += 2
        for t in range(done, count):
            x0 = rows[t]
            a0 = b0 = np.float32(0.0)
            for k in range(size):
                a0 += w0[k] * x0[k]
                b0 += w1[k] * x0[k]
            out[t, n] += a0
            out[t, n + 1] += b0
    if paired < weight.shape[0]:
        for t in range(count):
            a0 = np.float32(0.0)
            for k in range(size):
                a0 += weight[paired, k] * rows[t, k]
            out[t, paired] += a0
