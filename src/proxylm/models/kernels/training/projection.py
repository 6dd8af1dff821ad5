"""First step of attention: ``n = norm(x)``, queries, keys and values, rotation of the first two.

One product with the stacked weights ``[q; k; v]`` gives rows ``[queries | keys | values]``,
``(H + 2 H_kv) D`` wide, rotated in place. Backward rotates the gradients back in place: the
transpose of a rotation is its inverse, the same angle with the sine's sign turned.
"""

from __future__ import annotations

import torch
from torch import Tensor

from proxylm.models.kernels.training.rows import (
    ROWS_PER_BLOCK,
    add_product,
    inverse_rms,
    multiply,
    normalize,
    normalize_backward,
    row_blocks,
)
from proxylm.models.rotary import Rotation


def project(
    x: Tensor,
    norm_weight: Tensor,
    qkv_weight: Tensor,
    rotation: Rotation,
    epsilon: float,
    *,
    rotated_heads: int,
    products: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """``qkv [R, (H + 2 H_kv) D]`` and the inverse norms ``[R, 1]``.

    Args:
        rotation: cosines and sines ``[R, 1, D/2]``.
        rotated_heads: ``H + H_kv``, the leading heads of a row.
        products: the type in which matrices are multiplied.
    """
    rows = x.shape[0]
    weight = qkv_weight.to(products).t()
    inverse = x.new_empty(rows, 1)
    qkv = x.new_empty(rows, qkv_weight.shape[0])
    scratch = x.new_empty(min(rows, ROWS_PER_BLOCK), x.shape[1])
    for block in row_blocks(rows):
        inverse[block] = inverse_rms(x[block], epsilon)
        n = normalize(x[block], inverse[block], norm_weight, scratch[: block.stop - block.start])
        multiply(n.to(products), weight, qkv[block])
        _rotate_(qkv[block], rotation.cos[block], rotation.sin[block], rotated_heads)
    return qkv, inverse


def project_backward(
    grad_qkv: Tensor,
    x: Tensor,
    inverse: Tensor,
    norm_weight: Tensor,
    qkv_weight: Tensor,
    rotation: Rotation,
    residual_grad: Tensor,
    *,
    rotated_heads: int,
    products: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``x``, of the norm's weight and of the stacked weights. Uses ``grad_qkv`` up.

    ``residual_grad`` is the gradient of ``x`` by the way around attention.
    """
    grad_x, weight = torch.empty_like(x), qkv_weight.to(products)
    grad_norm, grad_weight = torch.zeros_like(norm_weight), torch.zeros_like(qkv_weight)
    scratch = x.new_empty(min(x.shape[0], ROWS_PER_BLOCK), x.shape[1])
    for block in row_blocks(x.shape[0]):
        grad = grad_qkv[block]
        _rotate_(grad, rotation.cos[block], -rotation.sin[block], rotated_heads)
        # Computed again, which costs less than to keep ``n`` of every layer.
        n = normalize(x[block], inverse[block], norm_weight, scratch[: grad.shape[0]])
        grad = grad.to(products)
        add_product(grad_weight, grad.t(), n.to(products))
        normalize_backward(
            torch.mm(grad, weight).to(x.dtype),
            x[block],
            inverse[block],
            norm_weight,
            residual_grad[block],
            grad_norm,
            grad_x[block],
        )
    return grad_x, grad_norm, grad_weight


def _rotate_(rows: Tensor, cos: Tensor, sin: Tensor, rotated_heads: int) -> None:
    """Rotate the leading heads of rows ``[R, ...]`` in place; pairs are (i, D/2 + i)."""
    half = cos.shape[-1]
    heads = rows[:, : rotated_heads * 2 * half].unflatten(1, (rotated_heads, 2, half))
    first, second = heads[:, :, 0], heads[:, :, 1]
    kept = first * sin
    first.mul_(cos).addcmul_(second, sin, value=-1.0)
    second.mul_(cos).add_(kept)
