"""Output layer and cross-entropy in one pass over chunks of positions.

The logits of a chunk, their softmax and both gradients are computed while the chunk is at hand:
nothing of size positions x vocabulary is ever stored and nothing is recomputed. The weight of
each row in the final sum has to be known beforehand; backward then only scales.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_LOGITS_PER_CHUNK = 1 << 22
_MIN_ROWS_PER_CHUNK = 256

Ranges = list[tuple[int, int]]


def rows_per_chunk(vocabulary_size: int) -> int:
    """Positions whose logits exist at one time: 16 MiB of float32, but at least 256 positions."""
    return max(_MIN_ROWS_PER_CHUNK, _LOGITS_PER_CHUNK // vocabulary_size)


class ChunkedCrossEntropy(torch.autograd.Function):
    """``sum_i scale_i * nll_i`` and the single ``nll_i`` (not differentiable).

    Products run in the type of ``hidden`` and ``weight``, softmax and sums in float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        scales: Tensor,
        ranges: Ranges,
        wants_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        """Loss and per-row nats; ``targets`` are columns of the stacked ranges."""
        nats = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        grads = None
        if wants_gradient:
            grads = torch.empty_like(hidden), torch.zeros_like(weight, dtype=torch.float32)
        step = rows_per_chunk(sum(end - start for start, end in ranges))
        for start in range(0, hidden.shape[0], step):
            rows = slice(start, start + step)
            wanted, scale = targets[rows, None], scales[rows, None]
            logits = _logits(hidden[rows], weight, ranges)
            largest = logits.amax(dim=-1, keepdim=True)
            wanted_logit = logits.gather(1, wanted) - largest
            exponentials = logits.sub_(largest).exp_()
            total = exponentials.sum(dim=-1, keepdim=True)
            nats[rows] = (total.log() - wanted_logit).squeeze(1)
            if grads is not None:
                grad_logits = exponentials.mul_(scale / total).scatter_add_(1, wanted, -scale)
                _accumulate(grad_logits, hidden[rows], weight, ranges, grads[0][rows], grads[1])
        if grads is not None:
            ctx.save_for_backward(*grads)
        ctx.mark_non_differentiable(nats)
        return (nats * scales).sum(), nats

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients that forward prepared."""
        grad_hidden, grad_weight = ctx.saved_tensors
        scale = grad_outputs[0]
        return grad_hidden * scale, grad_weight * scale, None, None, None, None


def _logits(hidden: Tensor, weight: Tensor, ranges: Ranges) -> Tensor:
    parts = [hidden @ weight[start:end].t() for start, end in ranges]
    return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)).float()


def _accumulate(
    grad_logits: Tensor,
    hidden: Tensor,
    weight: Tensor,
    ranges: Ranges,
    grad_hidden: Tensor,
    grad_weight: Tensor,
) -> None:
    """Write the gradient of a chunk's ``hidden``, add its part of the weight's."""
    widths = [end - start for start, end in ranges]
    parts = grad_logits.to(hidden.dtype).split(widths, dim=1)
    grad_hidden.zero_()
    for part, (start, end) in zip(parts, ranges, strict=True):
        grad_hidden.addmm_(part, weight[start:end])
        if part.dtype == grad_weight.dtype:
            grad_weight[start:end].addmm_(part.t(), hidden)
        else:
            grad_weight[start:end] += part.t() @ hidden


def chunked_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, scales: Tensor, ranges: Ranges
) -> tuple[Tensor, Tensor]:
    """Weighted negative log-likelihood of targets under one output head.

    Args:
        hidden: ``[n, width]``.
        weight: ``[V, width]``, the head's rows.
        targets: int64 ``[n]``, ids of the vocabulary, each inside ``ranges``.
        scales: float32 ``[n]``, each row's factor in the loss.
        ranges: half-open id ranges the softmax runs over, increasing.

    Returns:
        The scalar ``sum_i scale_i * nats_i`` and the detached nats ``[n]``.
    """
    wants_gradient = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    column = torch.zeros_like(targets)
    offset = 0
    for start, end in ranges:
        inside = (targets >= start) & (targets < end)
        column = torch.where(inside, targets - start + offset, column)
        offset += end - start
    device_type = hidden.device.type
    if torch.is_autocast_enabled(device_type):
        hidden, weight = (x.to(torch.get_autocast_dtype(device_type)) for x in (hidden, weight))
    with torch.autocast(device_type, enabled=False):
        loss, nats = ChunkedCrossEntropy.apply(
            hidden, weight, column, scales, ranges, wants_gradient
        )
    return loss, nats
