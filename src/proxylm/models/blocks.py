"""The block of all architectures, with the parameter names of published checkpoints.

``x += Attn(norm(x))``, ``x += W_down(silu(W_gate n) * W_up n)``; the residual stream is float32.
Imported models may have biases, norms of queries and keys, or norms in other places
(``CausalAttention``, ``ModelConfig.norms``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from proxylm.models.attention import AttentionForm
from proxylm.models.config import CausalAttention, EvaAttention, ModelConfig, RopeScaling
from proxylm.models.norm import RMSNorm
from proxylm.models.rotary import Rotation, rotate
from proxylm.models.stored_matrices import Projection


class Layers(NamedTuple):
    """A model's blocks, and what stands around them.

    Attributes:
        blocks: in order.
        norm: the last one, of what comes out.
        rope: the width of a head, and what ``rotary.rotation_of`` takes beside positions.
    """

    blocks: Sequence[Block]
    norm: RMSNorm
    rope: tuple[int, float, RopeScaling | None]


BlockRun = Callable[["Block", Tensor], Tensor]
"""One block over whole contexts: ``[B, N, width]`` float32 in and out."""


class SelfAttention(nn.Module):
    """Projections, rotation and attention; EVA adds the summaries' ``mu`` and ``phi``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_width = config.head_width
        attention, kv_width = config.attention, config.kv_heads * config.head_width
        self.is_eva = isinstance(attention, EvaAttention)
        biases = isinstance(attention, CausalAttention) and attention.biases
        self.q_proj = Projection(config.width, config.query_width, bias=biases)
        self.k_proj = Projection(config.width, kv_width, bias=biases)
        self.v_proj = Projection(config.width, kv_width, bias=biases)
        self.o_proj = Projection(config.query_width, config.width, bias=False)
        self.norms_heads = self.norms_projections = False
        if isinstance(attention, EvaAttention):
            shape = (1, config.heads, 1, 1, config.head_width)
            self.adaptive_mu_k = nn.Parameter(torch.empty(shape))
            self.adaptive_phi = nn.Parameter(torch.empty(shape))
            return
        self.norms_heads = attention.norms_heads
        self.norms_projections = attention.norms_projections
        if self.norms_heads or self.norms_projections:
            self.q_norm = RMSNorm(
                config, config.head_width if self.norms_heads else config.query_width
            )
            self.k_norm = RMSNorm(config, config.head_width if self.norms_heads else kv_width)

    def summary_vectors(self) -> tuple[Tensor | None, Tensor | None]:
        """``mu`` and ``phi`` ``[H, D]``, or None where the architecture has none."""
        if not self.is_eva:
            return None, None
        return self.adaptive_mu_k[0, :, 0, 0], self.adaptive_phi[0, :, 0, 0]

    def project(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values: ``[..., heads, D]`` each, of ``[..., width]``."""
        split = (*x.shape[:-1], -1, self.head_width)
        query, key = self.q_proj(x), self.k_proj(x)
        if self.norms_projections:
            query, key = self.q_norm(query).to(x.dtype), self.k_norm(key).to(x.dtype)
        query, key = query.view(split), key.view(split)
        if self.norms_heads:
            query, key = self.q_norm(query).to(x.dtype), self.k_norm(key).to(x.dtype)
        return rotate(query, rotation), rotate(key, rotation), self.v_proj(x).view(split)

    def output(self, mixed: Tensor) -> Tensor:
        """What attention mixed, ``[..., heads, D]``, as ``[..., width]``."""
        return self.o_proj(mixed.flatten(-2))


class GatedFeedForward(nn.Module):
    """SwiGLU: ``W_down(silu(W_gate x) * W_up x)``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Projection(config.width, config.ffn, bias=False)
        self.up_proj = Projection(config.width, config.ffn, bias=False)
        self.down_proj = Projection(config.ffn, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., width]`` to ``[..., width]``."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One layer.

    ``recomputes`` says whether its activations are computed again in backward, not kept.
    Where norms come ``after`` (OLMo 2) their names are those of its published checkpoints:
    ``post_attention_layernorm`` is then the one behind attention.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norms_after = config.norms_after
        self.recomputes = False
        if not self.norms_after:
            self.input_layernorm = RMSNorm(config)
        self.self_attn = SelfAttention(config)
        self.post_attention_layernorm = RMSNorm(config)
        self.mlp = GatedFeedForward(config)
        if self.norms_after:
            self.post_feedforward_layernorm = RMSNorm(config)

    def forward(self, x: Tensor, run: BlockRun) -> Tensor:
        """Residual stream in, residual stream out, ``[B, N, width]`` float32, the way of ``run``.

        What has to happen around a block in training (its weights gathered, its activations
        recomputed) happens around this, however the block is computed.
        """
        if self.recomputes and torch.is_grad_enabled():
            out: Tensor = checkpoint(run, self, x, use_reentrant=False, preserve_rng_state=False)
            return out
        return run(self, x)

    def plain(self, x: Tensor, rotation: Rotation, form: AttentionForm) -> Tensor:
        """The definition: the block's own modules over whole contexts."""
        query, key, value = self.into_attention(x, rotation)
        mixed = form.attend(query, key, value, *self.self_attn.summary_vectors())
        return self.behind_attention(x, mixed)

    def into_attention(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values: ``[..., heads, D]`` each, of ``[..., width]``."""
        return self.self_attn.project(x if self.norms_after else self.input_layernorm(x), rotation)

    def behind_attention(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The block's ``[..., width]``, of its input and what attention mixed ``[..., H, D]``."""
        attended = self.self_attn.output(mixed)
        if self.norms_after:
            x = x + self.post_attention_layernorm(attended)
            return x + self.post_feedforward_layernorm(self.mlp(x))
        x = x + attended
        return x + self.mlp(self.post_attention_layernorm(x))
