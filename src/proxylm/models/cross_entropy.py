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
    """``sum_i weight_i * nll_i`` and the single ``nll_i`` (not differentiable)."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, scales: Tensor, ranges: Ranges
    ) -> tuple[Tensor, Tensor]:
        """Loss and per-row nats; gradients are prepared where they will be asked for."""
        wants_gradient = any(ctx.needs_input_grad[:2])
        nats = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if wants_gradient else None
        grad_weight = torch.zeros_like(weight) if wants_gradient else None
        columns = sum(end - start for start, end in ranges)
        step = rows_per_chunk(columns)
        for start in range(0, hidden.shape[0], step):
            rows = slice(start, start + step)
            logits = _logits(hidden[rows], weight, ranges)
            wanted = targets[rows, None]
            largest = logits.amax(dim=-1, keepdim=True)
            wanted_logit = logits.gather(1, wanted) - largest
            probabilities = logits.sub_(largest).exp_()
            total = probabilities.sum(dim=-1, keepdim=True)
            nats[rows] = (total.log() - wanted_logit).squeeze(1)
            if grad_hidden is not None and grad_weight is not None:
                probabilities.mul_(scales[rows, None] / total)
                probabilities.scatter_add_(1, wanted, -scales[rows, None].to(logits.dtype))
                _accumulate(probabilities, hidden, weight, rows, ranges, grad_hidden, grad_weight)
        if grad_hidden is not None and grad_weight is not None:
            ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.mark_non_differentiable(nats)
        return (nats * scales).sum(), nats

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """Scale the gradients that forward prepared."""
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grads[0], grad_weight * grads[0], None, None, None


def _logits(hidden: Tensor, weight: Tensor, ranges: Ranges) -> Tensor:
    parts = [hidden @ weight[start:end].t() for start, end in ranges]
    return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)).float()


def _accumulate(
    grad_logits: Tensor,
    hidden: Tensor,
    weight: Tensor,
    rows: slice,
    ranges: Ranges,
    grad_hidden: Tensor,
    grad_weight: Tensor,
) -> None:
    grad_logits = grad_logits.to(hidden.dtype)
    column = 0
    for index, (start, end) in enumerate(ranges):
        part = grad_logits[:, column : column + end - start]
        column += end - start
        if index == 0:
            torch.mm(part, weight[start:end], out=grad_hidden[rows])
        else:
            grad_hidden[rows].addmm_(part, weight[start:end])
        grad_weight[start:end].addmm_(part.t(), hidden[rows])


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
    column = torch.zeros_like(targets)
    offset = 0
    for start, end in ranges:
        inside = (targets >= start) & (targets < end)
        column = torch.where(inside, targets - start + offset, column)
        offset += end - start
    loss, nats = ChunkedCrossEntropy.apply(hidden, weight, column, scales, ranges)
    return loss, nats
