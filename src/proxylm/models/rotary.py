"""Rotary position embedding, rotate-half form, by explicit positions.

``inv_freq_j = theta^(-2j/D)``; positions are counted from the document's start (method, section 4).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """Cosines and sines ``[..., N, 1, D/2]`` float32, shared by all layers of a forward."""

    cos: Tensor
    sin: Tensor


def rotation_of(position_ids: Tensor, head_width: int, theta: float) -> Rotation:
    """The rotation of each position; ``position_ids`` is ``[B or 1, N]`` or ``[T]``."""
    steps = torch.arange(0, head_width, 2, dtype=torch.float32, device=position_ids.device)
    inverse_frequency = 1.0 / theta ** (steps / head_width)
    angles = position_ids[..., None, None].to(torch.float32) * inverse_frequency
    return Rotation(angles.cos(), angles.sin())


def rotate(values: Tensor, rotation: Rotation) -> Tensor:
    """Apply the rotation to ``[..., N, H, D]``, computed in float32, in the type of ``values``."""
    first, second = values.float().chunk(2, dim=-1)
    cos, sin = rotation
    rotated = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return rotated.to(values.dtype)
