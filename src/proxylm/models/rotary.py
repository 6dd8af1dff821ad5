"""Rotary position embedding, rotate-half form, by explicit positions.

``inv_freq_j = theta^(-2j/D)``; positions are counted from the document's start (method, section 4).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from proxylm.models.config import LinearRope, RopeScaling


class Rotation(NamedTuple):
    """Cosines and sines ``[..., N, 1, D/2]`` float32, shared by all layers of a forward."""

    cos: Tensor
    sin: Tensor


def rotation_of(
    position_ids: Tensor, head_width: int, theta: float, scaling: RopeScaling | None = None
) -> Rotation:
    """The rotation of each position; ``position_ids`` is ``[B or 1, N]`` or ``[T]``."""
    frequencies = inverse_frequencies(head_width, theta, scaling, position_ids.device)
    angles = position_ids[..., None, None].to(torch.float32) * frequencies
    return Rotation(angles.cos(), angles.sin())


@lru_cache(maxsize=16)
def inverse_frequencies(
    head_width: int,
    theta: float,
    scaling: RopeScaling | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Radians that each pair of channels turns by in a position, float32 ``[D/2]``; kept."""
    with torch.inference_mode(mode=False):  # a training may ask for what a decoding has made
        return _inverse_frequencies(head_width, theta, scaling, device)


def _inverse_frequencies(
    head_width: int, theta: float, scaling: RopeScaling | None, device: torch.device | None
) -> Tensor:
    steps = torch.arange(0, head_width, 2, dtype=torch.float32, device=device)
    frequencies = 1.0 / theta ** (steps / head_width)
    if scaling is None:
        return frequencies
    if isinstance(scaling, LinearRope):
        return frequencies / scaling.factor
    turns = scaling.original_context * frequencies / (2 * math.pi)
    span = scaling.high_frequency - scaling.low_frequency
    kept = ((turns - scaling.low_frequency) / span).clamp(0, 1)
    return kept * frequencies + (1 - kept) * frequencies / scaling.factor


def rotate(values: Tensor, rotation: Rotation) -> Tensor:
    """Apply the rotation to ``[..., N, H, D]``, computed in float32, in the type of ``values``."""
    first, second = values.float().chunk(2, dim=-1)
    cos, sin = rotation
    rotated = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return rotated.to(values.dtype)
