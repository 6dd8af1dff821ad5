"""The byte LM in float64: the pass that decides, where float32 is only fast.

A plain Llama-style forward in one type throughout, over a copy of the model's weights: embedding,
rotation, attention, feed-forward, output layer. Different batches or threads move its results by
about 1e-14, so whatever is decided with a margin far above that is the same everywhere. The
rotation's angles are rounded to float32 as the trained model rounds them (an exactly defined
product), so that this pass and the fast one compute the same function.
"""

from __future__ import annotations

import math
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor

from proxylm.models.blocks import SelfAttention
from proxylm.models.language_model import LanguageModel
from proxylm.models.norm import RMSNorm
from proxylm.symbols import BYTE_COUNT, RAW_OFFSET


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
        self._groups = config.heads // config.kv_heads
        self._trunk = deepcopy(model.model).to(device=device, dtype=torch.float64)
        self._output = raw_output_rows(model).to(device=device, dtype=torch.float64)
        steps = torch.arange(0, config.head_width, 2, dtype=torch.float32)
        self._inverse_frequency = 1.0 / config.rope_theta ** (steps / config.head_width)

    @torch.no_grad()
    def hidden(self, ids: Tensor) -> Tensor:
        """Final normalized states, float64 ``[B, N, width]``, of int64 ids ``[B, N]``."""
        positions = torch.arange(ids.shape[1], dtype=torch.float32)
        angles = (positions[:, None] * self._inverse_frequency).double().to(self.device)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        x = self._trunk.embed_tokens(ids)
        for block in self._trunk.blocks():
            n = _normalized(x, block.input_layernorm)
            x = x + self._attention(n, block.self_attn, cos, sin)
            x = x + block.mlp(_normalized(x, block.post_attention_layernorm))
        return _normalized(x, self._trunk.norm)

    def probabilities(self, hidden: Tensor) -> Tensor:
        """Float64 ``[..., 256]``: the distribution over bytes after states ``[..., width]``."""
        return torch.softmax(hidden @ self._output.T, dim=-1)

    def bits(self, hidden: Tensor, next_bytes: Tensor) -> Tensor:
        """Float64 ``[n]``: cross-entropy in bits of the bytes that follow states ``[n, width]``."""
        return bits_of(hidden @ self._output.T, next_bytes)

    def _attention(self, n: Tensor, layer: SelfAttention, cos: Tensor, sin: Tensor) -> Tensor:
        query, key, value = (
            projection(n).unflatten(-1, (-1, layer.head_width))
            for projection in (layer.q_proj, layer.k_proj, layer.v_proj)
        )
        key = _rotated(key, cos, sin).repeat_interleave(self._groups, dim=2)
        attended = F.scaled_dot_product_attention(
            _rotated(query, cos, sin).transpose(1, 2),
            key.transpose(1, 2),
            value.repeat_interleave(self._groups, dim=2).transpose(1, 2),
            is_causal=True,
        )
        return layer.o_proj(attended.transpose(1, 2).flatten(-2))


def raw_output_rows(model: LanguageModel) -> Tensor:
    """The output layer's rows of the 256 bytes in head 0, ``[256, width]``."""
    return model.lm_head.weight.detach()[RAW_OFFSET : RAW_OFFSET + BYTE_COUNT]


def bits_of(logits: Tensor, next_bytes: Tensor) -> Tensor:
    """Cross-entropy in bits ``[n]`` of bytes ``[n]`` under logits ``[n, 256]``, in their type."""
    chosen = logits.gather(1, next_bytes[:, None]).squeeze(1)
    return (torch.logsumexp(logits, dim=1) - chosen) / math.log(2)


def _normalized(x: Tensor, norm: RMSNorm) -> Tensor:
    # The module itself computes in float32; with causal attention its weight is the scale.
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + norm.epsilon) * norm.weight


def _rotated(values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    # [B, N, heads, D], rotate-half form
    first, second = values.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
