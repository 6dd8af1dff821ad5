"""The pre-norm block of both architectures, with the parameter names of published checkpoints.

``x += Attn(norm(x))``, ``x += W_down(silu(W_gate n) * W_up n)``; the residual stream is float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxylm.models.attention import AttentionForm
from proxylm.models.cache import LayerCache
from proxylm.models.config import EvaAttention, ModelConfig
from proxylm.models.feed import Feed
from proxylm.models.norm import RMSNorm
from proxylm.models.rotary import Rotation, rotate


class SelfAttention(nn.Module):
    """Projections, rotation and attention; EVA adds the summaries' ``mu`` and ``phi``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_width = config.head_width
        kv_width = config.kv_heads * config.head_width
        self.q_proj = nn.Linear(config.width, config.width, bias=False)
        self.k_proj = nn.Linear(config.width, kv_width, bias=False)
        self.v_proj = nn.Linear(config.width, kv_width, bias=False)
        self.o_proj = nn.Linear(config.width, config.width, bias=False)
        self.is_eva = isinstance(config.attention, EvaAttention)
        if self.is_eva:
            shape = (1, config.heads, 1, 1, config.head_width)
            self.adaptive_mu_k = nn.Parameter(torch.empty(shape))
            self.adaptive_phi = nn.Parameter(torch.empty(shape))

    def summary_vectors(self) -> tuple[Tensor | None, Tensor | None]:
        """``mu`` and ``phi`` ``[H, D]``, or None where the architecture has none."""
        if not self.is_eva:
            return None, None
        return self.adaptive_mu_k[0, :, 0, 0], self.adaptive_phi[0, :, 0, 0]

    def project(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values: ``[..., heads, D]`` each, of ``[..., width]``."""
        split = (*x.shape[:-1], -1, self.head_width)
        query = rotate(self.q_proj(x).view(split), rotation)
        key = rotate(self.k_proj(x).view(split), rotation)
        return query, key, self.v_proj(x).view(split)

    def forward(self, x: Tensor, rotation: Rotation, form: AttentionForm) -> Tensor:
        """Attention over whole contexts, ``[B, N, width]``."""
        query, key, value = self.project(x, rotation)
        return self.o_proj(form.attend(query, key, value, *self.summary_vectors()).flatten(-2))

    def step(self, x: Tensor, rotation: Rotation, cache: LayerCache, feed: Feed) -> Tensor:
        """Attention of a pass's ``T`` symbols through a cache, ``[T, width]``."""
        query, key, value = self.project(x, rotation)
        return self.o_proj(cache.attend(query, key, value, feed, self.summary_vectors).flatten(-2))


class GatedFeedForward(nn.Module):
    """SwiGLU: ``W_down(silu(W_gate x) * W_up x)``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.ffn, bias=False)
        self.up_proj = nn.Linear(config.width, config.ffn, bias=False)
        self.down_proj = nn.Linear(config.ffn, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., width]`` to ``[..., width]``."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config)
        self.self_attn = SelfAttention(config)
        self.post_attention_layernorm = RMSNorm(config)
        self.mlp = GatedFeedForward(config)

    def forward(self, x: Tensor, rotation: Rotation, form: AttentionForm) -> Tensor:
        """Residual stream in, residual stream out, ``[B, N, width]`` float32."""
        x = x + self.self_attn(self.input_layernorm(x), rotation, form)
        return x + self.mlp(self.post_attention_layernorm(x))

    def step(self, x: Tensor, rotation: Rotation, cache: LayerCache, feed: Feed) -> Tensor:
        """The same for a pass's ``T`` symbols through a cache, ``[T, width]``."""
        x = x + self.self_attn.step(self.input_layernorm(x), rotation, cache, feed)
        return x + self.mlp(self.post_attention_layernorm(x))
