"""Matrices as they are stored: float32, or bfloat16 to halve what decoding has to read.

A pass of one symbol takes as long as its weights take to come from memory. Stored as bfloat16 (8 of
a float32's 24 bits, the same exponents) they are half as long; all arithmetic stays float32.
Training needs the bits that are lost: such a model is for inference.
"""

from __future__ import annotations

from enum import StrEnum

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WeightType(StrEnum):
    """How the matrices of a loaded model are stored; ``float32`` is as they were trained."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


BY_SHORT_NAME = {"f32": WeightType.FLOAT32, "bf16": WeightType.BFLOAT16}
"""What commands call them."""


class Projection(nn.Linear):
    """A linear layer whose matrix may be stored in another type than what it multiplies."""

    def forward(self, rows: Tensor) -> Tensor:
        """``[..., inputs]`` to ``[..., outputs]``."""
        return product(rows, self.weight, self.bias)


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows [..., inputs]`` by a matrix ``[outputs, inputs]`` of whatever type."""
    # Autocast chooses the type itself, and keeps what it made of a weight for the whole pass.
    if weight.dtype != rows.dtype and not torch.is_autocast_enabled(rows.device.type):
        weight = weight.to(rows.dtype)
    return F.linear(rows, weight, bias)


def store_matrices(module: nn.Module, weights: WeightType) -> None:
    """Store the matrices of a model's projections and of its embedding as the type, in place.

    Norms, biases and EVA's vectors are small, and stay as they are.
    """
    stored = getattr(torch, weights)
    for part in module.modules():
        if isinstance(part, Projection | nn.Embedding) and part.weight.dtype != stored:
            part.weight = nn.Parameter(part.weight.detach().to(stored), requires_grad=False)
