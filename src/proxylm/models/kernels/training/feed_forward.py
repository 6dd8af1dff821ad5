"""Second half of a block: ``y = x + W_down(silu(W_gate n) * W_up n)`` with ``n = norm(x)``.

Saved for backward are ``x``, the inverse norms and ``[gate | up]``; ``n`` and the activation are
computed again from them, which costs less than keeping them. ``ffn`` is the inner width. What lies
between the products is of their type, everything else of that of ``x``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from proxylm.models.kernels.training.rows import (
    ROWS_PER_BLOCK,
    add_product,
    inverse_rms,
    multiply_and_add,
    normalize,
    normalize_backward,
    row_blocks,
)


class FeedForwardSaved(NamedTuple):
    """What backward needs: ``x [R, width]``, ``inverse [R, 1]``, ``[rows, 2 ffn]`` per block."""

    x: Tensor
    inverse: Tensor
    gate_up: list[Tensor]


def feed_forward(
    x: Tensor,
    norm_weight: Tensor,
    gate_up_weight: Tensor,
    down_weight: Tensor,
    epsilon: float,
    *,
    keep: bool,
    products: torch.dtype,
) -> tuple[Tensor, FeedForwardSaved | None]:
    """``y [R, width]`` and, if ``keep``, what backward needs.

    Args:
        gate_up_weight: ``[2 ffn, width]``, both weights stacked.
        products: the type in which matrices are multiplied.
    """
    rows, width = x.shape
    ffn = down_weight.shape[1]
    inverse = x.new_empty(rows, 1)
    kept = []
    y = torch.empty_like(x)
    into, out_of = gate_up_weight.to(products).t(), down_weight.to(products).t()
    scratch = x.new_empty(min(rows, ROWS_PER_BLOCK), width)
    for block in row_blocks(rows):
        inverse[block] = inverse_rms(x[block], epsilon)
        n = normalize(x[block], inverse[block], norm_weight, scratch[: x[block].shape[0]])
        gate_up = torch.mm(n.to(products), into)
        activation = F.silu(gate_up[:, :ffn]).mul_(gate_up[:, ffn:])
        if keep:
            kept.append(gate_up)
        multiply_and_add(x[block], activation, out_of, y[block])
    return y, FeedForwardSaved(x, inverse, kept) if keep else None


def feed_forward_backward(
    grad_y: Tensor,
    saved: FeedForwardSaved,
    norm_weight: Tensor,
    gate_up_weight: Tensor,
    down_weight: Tensor,
    *,
    products: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of ``feed_forward``'s tensors in their order, given ``grad_y [R, width]``.

    Overwrites ``saved.gate_up``.
    """
    x, inverse, gate_up = saved
    ffn = down_weight.shape[1]
    grad_x, grad_norm = torch.empty_like(grad_y), torch.zeros_like(norm_weight)
    grad_gate_up, grad_down = torch.zeros_like(gate_up_weight), torch.zeros_like(down_weight)
    into, out_of = gate_up_weight.to(products), down_weight.to(products)
    scratch = x.new_empty(min(x.shape[0], ROWS_PER_BLOCK), x.shape[1])
    for block, inner in zip(row_blocks(x.shape[0]), gate_up, strict=True):
        grad_out, gate, up = grad_y[block].to(products), inner[:, :ffn], inner[:, ffn:]
        grad_activation = torch.mm(grad_out, out_of)
        silu = F.silu(gate)
        add_product(grad_down, grad_out.t(), silu * up)
        grad_silu = grad_activation * up
        # gate and up are not needed any more: their gradients take their place, so that ``inner``
        # is the gradient of the stacked product and one product serves both weights.
        torch.mul(grad_activation, silu, out=up)
        torch.ops.aten.silu_backward.grad_input(grad_silu, gate, grad_input=gate)
        n = normalize(x[block], inverse[block], norm_weight, scratch[: grad_out.shape[0]])
        add_product(grad_gate_up, inner.t(), n.to(products))
        normalize_backward(
            torch.mm(inner, into).to(x.dtype),
            x[block],
            inverse[block],
            norm_weight,
            grad_y[block],
            grad_norm,
            grad_x[block],
        )
    return grad_x, grad_norm, grad_gate_up, grad_down
