"""The byte LM in float64: the pass that decides, where float32 is only fast.

A plain Llama-style forward written out once, in one type throughout: embedding, rotation,
attention, feed-forward, output layer. Different batches or threads move its results by about
1e-14, so whatever is decided with a margin far above that is the same everywhere. The rotation's
angles are rounded to float32 as the trained model rounds them (an exactly defined product), so
that this pass and the fast one compute the same function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from proxylm.models.blocks import Block
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import BYTE_COUNT, RAW_OFFSET


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactLayer:
    """Weights of one block in float64, named as in ``proxylm.models.blocks``."""

    input_norm: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    inner_norm: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor

    @classmethod
    def of(cls, block: Block, device: torch.device) -> ExactLayer:
        """A block's weights on ``device``."""
        attention, mlp = block.self_attn, block.mlp
        return cls(
            input_norm=_exact(block.input_layernorm.scale(), device),
            query=_exact(attention.q_proj.weight, device),
            key=_exact(attention.k_proj.weight, device),
            value=_exact(attention.v_proj.weight, device),
            output=_exact(attention.o_proj.weight, device),
            inner_norm=_exact(block.post_attention_layernorm.scale(), device),
            gate=_exact(mlp.gate_proj.weight, device),
            up=_exact(mlp.up_proj.weight, device),
            down=_exact(mlp.down_proj.weight, device),
        )


class ExactPass:
    """Float64 forward of a causal byte LM over rows that each start with ``<bos>``.

    Shapes: ``B`` rows, ``N`` positions, ``H`` heads of ``D`` channels.

    Args:
        model: causal attention, raw bytes in its vocabulary.
        device: where it computes.
    """

    def __init__(self, model: LanguageModel, device: torch.device) -> None:
        config = model.config
        self.device = device
        self._heads, self._kv_heads = config.heads, config.kv_heads
        self._epsilon = config.norm_epsilon
        self._embedding = _exact(model.model.embed_tokens.weight, device)
        self._layers = [ExactLayer.of(block, device) for block in model.model.blocks()]
        self._norm = _exact(model.model.norm.scale(), device)
        self._output = _exact(raw_output_rows(model), device)
        steps = torch.arange(0, config.head_width, 2, dtype=torch.float32)
        self._inverse_frequency = 1.0 / config.rope_theta ** (steps / config.head_width)

    @torch.no_grad()
    def hidden(self, ids: Tensor) -> Tensor:
        """Final normalized states, float64 ``[B, N, width]``, of int64 ids ``[B, N]``."""
        positions = torch.arange(ids.shape[1], dtype=torch.float32)
        angles = (positions[:, None] * self._inverse_frequency).double().to(self.device)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        x = self._embedding[ids]
        for layer in self._layers:
            x = x + self._attention(self._normalized(x, layer.input_norm), layer, cos, sin)
            n = self._normalized(x, layer.inner_norm)
            x = x + (F.silu(n @ layer.gate.T) * (n @ layer.up.T)) @ layer.down.T
        return self._normalized(x, self._norm)

    def probabilities(self, hidden: Tensor) -> Tensor:
        """Float64 ``[..., 256]``: the distribution over bytes after states ``[..., width]``."""
        return torch.softmax(hidden @ self._output.T, dim=-1)

    def bits(self, hidden: Tensor, next_bytes: Tensor) -> Tensor:
        """Float64 ``[n]``: cross-entropy in bits of the bytes that follow states ``[n, width]``."""
        return bits_of(hidden @ self._output.T, next_bytes)

    def _normalized(self, x: Tensor, scale: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + self._epsilon) * scale

    def _attention(self, n: Tensor, layer: ExactLayer, cos: Tensor, sin: Tensor) -> Tensor:
        query = _rotated((n @ layer.query.T).unflatten(-1, (self._heads, -1)), cos, sin)
        key = _rotated((n @ layer.key.T).unflatten(-1, (self._kv_heads, -1)), cos, sin)
        value = (n @ layer.value.T).unflatten(-1, (self._kv_heads, -1))
        groups = self._heads // self._kv_heads
        attended = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.repeat_interleave(groups, dim=2).transpose(1, 2),
            value.repeat_interleave(groups, dim=2).transpose(1, 2),
            is_causal=True,
        )
        return attended.transpose(1, 2).flatten(-2) @ layer.output.T


def raw_output_rows(model: LanguageModel) -> Tensor:
    """The output layer's rows of the 256 bytes in head 0, ``[256, width]``."""
    return model.lm_head.weight.detach()[RAW_OFFSET : RAW_OFFSET + BYTE_COUNT]


def bits_of(logits: Tensor, next_bytes: Tensor) -> Tensor:
    """Cross-entropy in bits ``[n]`` of bytes ``[n]`` under logits ``[n, 256]``, in their type."""
    chosen = logits.gather(1, next_bytes[:, None]).squeeze(1)
    return (torch.logsumexp(logits, dim=1) - chosen) / math.log(2)


def _rotated(values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    # [B, N, heads, D], rotate-half form
    first, second = values.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _exact(weight: Tensor, device: torch.device) -> Tensor:
    return weight.detach().to(device=device, dtype=torch.float64)
