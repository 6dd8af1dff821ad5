"""Blocks of rows, the unit in which elementwise work and matrix products alternate, and their norm.

A block's rows are still in the cache when the next step reads them, which whole contexts are not.

RMSNorm of a block is ``n = x r w`` with ``r = (mean(x^2) + eps)^-1/2``. Backward, with
``g = dn * w`` and ``y = x r``: ``dx = r (g - y mean(g y))``, ``dw = sum dn * y``.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

ROWS_PER_BLOCK = 1024
"""Enough for a matrix product to run at full speed; 1.5 MiB of float32 at a width of 384."""


def row_blocks(row_count: int) -> Iterator[slice]:
    """Slices that cover ``row_count`` rows in order."""
    for start in range(0, row_count, ROWS_PER_BLOCK):
        yield slice(start, min(start + ROWS_PER_BLOCK, row_count))


def inverse_rms(x: Tensor, epsilon: float) -> Tensor:
    """``r``, ``[rows, 1]``."""
    # A norm reads ``x`` once and writes nothing of its size, unlike the mean of its square.
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()


def normalize(x: Tensor, inverse: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """``n`` written to ``out``, ``[rows, width]``."""
    return torch.mul(x, inverse, out=out).mul_(weight)


def multiply(rows: Tensor, matrix: Tensor, out: Tensor) -> None:
    """Write the product of ``rows`` and ``matrix``, both of one type, to ``out``."""
    if out.dtype == rows.dtype:
        torch.mm(rows, matrix, out=out)
    else:
        out.copy_(torch.mm(rows, matrix))


def multiply_and_add(x: Tensor, rows: Tensor, matrix: Tensor, out: Tensor) -> None:
    """Write ``x`` and the product of ``rows`` and ``matrix``, both of one type, to ``out``."""
    if out.dtype == rows.dtype:
        torch.addmm(x, rows, matrix, out=out)
    else:
        torch.add(x, torch.mm(rows, matrix), out=out)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add the product of two matrices, in their type, to ``total``."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(torch.mm(left, right))


def normalize_backward(
    grad: Tensor,
    x: Tensor,
    inverse: Tensor,
    weight: Tensor,
    residual_grad: Tensor,
    grad_weight: Tensor,
    grad_x: Tensor,
) -> None:
    """Write ``residual_grad + dx`` to ``grad_x``, add to ``grad_weight``; uses ``grad`` up.

    ``grad`` is the gradient of ``n``, ``residual_grad`` that of ``x`` by the way around it.
    """
    unit = x * inverse
    product = grad * unit
    grad_weight += product.sum(dim=0)
    # mean(g y) with g = dn w: the weight joins in the sum, so that ``product`` serves both.
    mean = torch.mv(product, weight).div_(x.shape[-1])
    grad.mul_(weight).addcmul_(unit, mean[:, None], value=-1.0)
    torch.addcmul(residual_grad, grad, inverse, out=grad_x)
