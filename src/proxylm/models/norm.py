"""RMSNorm in float32, with weight ``1 + w`` (EVA) or ``w`` (Llama)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from proxylm.models.config import EvaAttention, ModelConfig


class RMSNorm(nn.Module):
    """``x / rms(x) * weight``; the stored weight is an offset from one if ``unit_offset``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.width))
        self.epsilon = config.norm_epsilon
        self.unit_offset = isinstance(config.attention, EvaAttention)

    def scale(self) -> Tensor:
        """The factor per channel, ``[width]`` float32."""
        return self.weight.float() + 1.0 if self.unit_offset else self.weight.float()

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last dimension of ``x`` ``[..., width]``; returns float32."""
        x = x.float()
        inverse_rms = torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + self.epsilon)
        return x * inverse_rms * self.scale()
