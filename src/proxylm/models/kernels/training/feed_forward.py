"""Second half of a block: ``y = x + W_down(silu(W_gate n) * W_up n)`` with ``n = norm(x)``.

Saved for backward are ``x``, the inverse norms and ``[gate | up]``; ``n`` and the activation are
computed again from them, which costs less than keeping them. ``ffn`` is the inner width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from proxylm.models.kernels.training.rows import (
    ROWS_PER_BLOCK,
    inverse_rms,
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
) -> tuple[Tensor, FeedForwardSaved | None]:
    """``y [R, width]`` and, if ``keep``, what backward needs.

    Args:
        gate_up_weight: ``[2 ffn, width]``, both weights stacked.
    """
    rows, width = x.shape
    ffn = down_weight.shape[1]
    inverse = x.new_empty(rows, 1)
    kept = []
    y = torch.empty_like(x)
    scratch = x.new_empty(min(rows, ROWS_PER_BLOCK), width)
    for block in row_blocks(rows):
        inverse[block] = inverse_rms(x[block], epsilon)
        n = normalize(x[block], inverse[block], norm_weight, scratch[: x[block].shape[0]])
        gate_up = torch.mm(n, gate_up_weight.t())
        activation = F.silu(gate_up[:, :ffn]).mul_(gate_up[:, ffn:])
        if keep:
            kept.append(gate_up)
        torch.addmm(x[block], activation, down_weight.t(), out=y[block])
    return y, FeedForwardSaved(x, inverse, kept) if keep else None


def feed_forward_backward(
    grad_y: Tensor,
    saved: FeedForwardSaved,
    norm_weight: Tensor,
    gate_up_weight: Tensor,
    down_weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of ``feed_forward``'s tensors in their order, given ``grad_y [R, width]``.

    Overwrites ``saved.gate_up``.
    """
    x, inverse, gate_up = saved
    ffn = down_weight.shape[1]
    grad_x, grad_norm = torch.empty_like(grad_y), torch.zeros_like(norm_weight)
    grad_gate_up, grad_down = torch.zeros_like(gate_up_weight), torch.zeros_like(down_weight)
    scratch = x.new_empty(min(x.shape[0], ROWS_PER_BLOCK), x.shape[1])
    for block, inner in zip(row_blocks(x.shape[0]), gate_up, strict=True):
        grad_out, gate, up = grad_y[block], inner[:, :ffn], inner[:, ffn:]
        grad_activation = torch.mm(grad_out, down_weight)
        silu = F.silu(gate)
        grad_down.addmm_(grad_out.t(), silu * up)
        grad_silu = grad_activation * up
        # gate and up are not needed any more: their gradients take their place, so that ``inner``
        # is the gradient of the stacked product and one product serves both weights.
        torch.mul(grad_activation, silu, out=up)
        torch.ops.aten.silu_backward.grad_input(grad_silu, gate, grad_input=gate)
        n = normalize(x[block], inverse[block], norm_weight, scratch[: grad_out.shape[0]])
        grad_gate_up.addmm_(inner.t(), n)
        grad_n = torch.mm(inner, gate_up_weight)
        normalize_backward(
            grad_n, x[block], inverse[block], norm_weight, grad_out, grad_norm, grad_x[block]
        )
    return grad_x, grad_norm, grad_gate_up, grad_down
