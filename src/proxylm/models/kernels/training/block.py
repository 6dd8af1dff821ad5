"""The two halves of a block as autograd functions over the hand-written passes.

``AttentionHalf`` is ``x + W_o attend(rotate(W_qkv norm(x)))`` and ``FeedForwardHalf`` is
``x + W_down(silu(W_gate n) * W_up n)``; both take and return rows ``[R, width]`` in float32. They
know themselves which products are rounded: autocast is off inside, forward and backward.

Tensors that are arguments or results go through ``save_for_backward``; what a half made itself is
kept on ``ctx`` and given up by backward, which writes over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd

from proxylm.errors import UsageError
from proxylm.models.kernels.training.attention import Heads, attend_runs, attend_runs_backward
from proxylm.models.kernels.training.feed_forward import (
    FeedForwardSaved,
    feed_forward,
    feed_forward_backward,
)
from proxylm.models.kernels.training.projection import project, project_backward
from proxylm.models.kernels.training.rows import multiply_and_add
from proxylm.models.kernels.training.runs import RunPlan
from proxylm.models.kernels.training.summaries import ChunkWeights, summarize, summarize_backward
from proxylm.models.rotary import Rotation


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfSettings:
    """What a half needs beside tensors with gradients.

    Attributes:
        rotation: cosines and sines ``[R, 1, D/2]``.
        plan: which keys each query sees.
        keep_for_backward: whether gradients are wanted at all.
        products: the type in which rows meet weights; all else, attention too, is in that of rows.
    """

    heads: int
    kv_heads: int
    epsilon: float
    rotation: Rotation
    plan: RunPlan
    keep_for_backward: bool
    products: torch.dtype


def _take_saved(ctx: Any) -> Any:
    # Backward overwrites some of it, so it runs once.
    saved, ctx.saved = ctx.saved, None
    if saved is None:
        raise UsageError("backward runs once per forward here: leave out retain_graph=True")
    return saved


def _split_heads(qkv: Tensor, settings: HalfSettings) -> tuple[Tensor, Tensor, Tensor]:
    counts = [settings.heads, settings.kv_heads, settings.kv_heads]
    query, key, value = qkv.unflatten(1, (sum(counts), -1)).split(counts, dim=1)
    return query, key, value


class AttentionHalf(torch.autograd.Function):
    """Norm, projection, rotation, summaries, attention, output projection, residual."""

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(
        ctx: Any,
        x: Tensor,
        norm_weight: Tensor,
        qkv_weight: Tensor,
        out_weight: Tensor,
        mu: Tensor | None,
        phi: Tensor | None,
        settings: HalfSettings,
    ) -> Tensor:
        """``[R, width]`` to ``[R, width]``."""
        rotated = settings.heads + settings.kv_heads
        qkv, inverse = project(
            x,
            norm_weight,
            qkv_weight,
            settings.rotation,
            settings.epsilon,
            rotated_heads=rotated,
            products=settings.products,
        )
        query, key, value = _split_heads(qkv, settings)
        summary_key = summary_value = key[:0]
        chunk_weights: list[ChunkWeights] = []
        if mu is not None and phi is not None:
            summary_key, summary_value, chunk_weights = summarize(
                key, value, mu, phi, settings.plan.passes
            )
        heads = Heads(query, key, value, summary_key, summary_value)
        attended, keep = torch.empty_like(x), settings.keep_for_backward
        by_head = attended.unflatten(1, (settings.heads, -1))
        kept = attend_runs(heads, settings.plan, by_head, keep=keep)
        if keep:
            ctx.save_for_backward(x, norm_weight, qkv_weight, out_weight, mu, phi)
            ctx.settings = settings
            # The norm's [R, 1]; before the output projection [R, width]; softmax weights, or none;
            # views of the projected rows; softmax weights of each pass of summaries.
            ctx.saved = inverse, attended, kept, heads, chunk_weights
        y = torch.empty_like(x)
        multiply_and_add(x, attended.to(settings.products), out_weight.to(settings.products).t(), y)
        return y

    @staticmethod
    @custom_bwd(device_type="cpu")
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of ``x``, weights, ``mu`` and ``phi``."""
        x, norm_weight, qkv_weight, out_weight, mu, phi = ctx.saved_tensors
        settings: HalfSettings = ctx.settings
        inverse, attended, kept, heads, chunk_weights = _take_saved(ctx)
        grad = grad_outputs[0].contiguous()
        rounded = grad.to(settings.products)
        grad_attended = torch.mm(rounded, out_weight.to(settings.products)).to(x.dtype)
        grad_out_weight = torch.mm(rounded.t(), attended.to(settings.products)).to(x.dtype)
        grad_qkv = x.new_empty(x.shape[0], qkv_weight.shape[0])
        summaries = map(torch.zeros_like, (heads.summary_key, heads.summary_value))
        grads = Heads(*_split_heads(grad_qkv, settings), *summaries)
        by_head = grad_attended.unflatten(1, (settings.heads, -1))
        attend_runs_backward(by_head, heads, settings.plan, kept, grads)
        grad_mu = grad_phi = None
        if mu is not None:
            grad_mu, grad_phi = summarize_backward(
                (heads.key, heads.value),
                (mu, phi),
                chunk_weights,
                settings.plan.passes,
                (grads.summary_key, grads.summary_value),
                (grads.key, grads.value),
            )
        grad_x, grad_norm, grad_qkv_weight = project_backward(
            grad_qkv,
            x,
            inverse,
            norm_weight,
            qkv_weight,
            settings.rotation,
            grad,
            rotated_heads=settings.heads + settings.kv_heads,
            products=settings.products,
        )
        return grad_x, grad_norm, grad_qkv_weight, grad_out_weight, grad_mu, grad_phi, None


class FeedForwardHalf(torch.autograd.Function):
    """Norm, gated feed-forward, residual."""

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(
        ctx: Any,
        x: Tensor,
        norm_weight: Tensor,
        gate_up_weight: Tensor,
        down_weight: Tensor,
        settings: HalfSettings,
    ) -> Tensor:
        """``[R, width]`` to ``[R, width]``."""
        keep = settings.keep_for_backward
        y, saved = feed_forward(
            x,
            norm_weight,
            gate_up_weight,
            down_weight,
            settings.epsilon,
            keep=keep,
            products=settings.products,
        )
        if keep:
            ctx.save_for_backward(norm_weight, gate_up_weight, down_weight)
            ctx.saved, ctx.products = saved, settings.products
        return y

    @staticmethod
    @custom_bwd(device_type="cpu")
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of ``x`` and weights."""
        weights = ctx.saved_tensors
        saved: FeedForwardSaved = _take_saved(ctx)
        grad = grad_outputs[0].contiguous()
        return (*feed_forward_backward(grad, saved, *weights, products=ctx.products), None)
