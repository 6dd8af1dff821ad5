"""The yardstick of the training benchmark: a plain causal transformer, written straightforwardly.

Same sizes as the model beside it (RMSNorm, rotary positions, SwiGLU, untied output), PyTorch's own
``scaled_dot_product_attention(is_causal=True)`` over the whole context, no document masks, and
PyTorch's own cross-entropy. It uses nothing of the project.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainBlock(nn.Module):
    """One pre-norm layer."""

    def __init__(self, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.ffn_norm = nn.RMSNorm(width)
        self.gate = nn.Linear(width, ffn, bias=False)
        self.up = nn.Linear(width, ffn, bias=False)
        self.down = nn.Linear(ffn, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """``[B, N, width]`` to ``[B, N, width]``."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        )
        attended = F.scaled_dot_product_attention(
            _rotate(query, cos, sin), _rotate(key, cos, sin), value, is_causal=True
        )
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        n = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(n)) * self.up(n))


class PlainTransformer(nn.Module):
    """Embedding, layers, final norm, output layer; ``forward`` is the loss."""

    def __init__(self, *, vocabulary: int, width: int, layers: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.head_width = width // heads
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(PlainBlock(width, heads, ffn) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.output = nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of ``targets`` ``[B, N]``."""
        exponents = -torch.arange(0, self.head_width, 2, device=ids.device) / self.head_width
        frequency = 10_000.0**exponents
        positions = torch.arange(ids.shape[1], device=ids.device)
        angles = positions[:, None] * torch.cat([frequency, frequency])
        cos, sin = angles.cos(), angles.sin()
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return F.cross_entropy(self.output(self.norm(x)).flatten(0, 1), targets.flatten())


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
