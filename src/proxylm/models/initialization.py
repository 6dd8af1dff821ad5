"""Initial weights, from a seed and each parameter's name.

All are truncated normal (appendix C.1): weights with sigma 0.02 and embeddings with sigma 1.0, cut
at 3 sigma, ``mu`` and ``phi`` with sigma ``D^-1/2``, cut at 2; norms start at the identity. A
parameter's values depend on the seed and its name alone, not on the order or number of others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import xxhash
from torch import Tensor, nn

from proxylm.models.norm import RMSNorm

WEIGHT_SIGMA = 0.02
EMBEDDING_SIGMA = 1.0


def initialize(model: nn.Module, seed: int) -> None:
    """Fill every parameter of ``model`` in place."""
    set_constants(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.copy_(drawn_weight(parameter.shape, name, seed))


@torch.no_grad()
def set_constants(model: nn.Module) -> None:
    """Fill the parameters that are not drawn: norms and biases."""
    for module in model.modules():
        if isinstance(module, RMSNorm):
            module.weight.fill_(0.0 if module.unit_offset else 1.0)
        elif isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.zero_()


def drawn_weight(
    shape: Sequence[int], name: str, seed: int, *, purpose: str = "initialize"
) -> Tensor:
    """One matrix or vector of weights, float32 on the CPU; ``name`` decides the distribution."""
    key = xxhash.xxh3_64_intdigest(f"{purpose}/{name}".encode(), seed=seed & (2**64 - 1))
    generator = torch.Generator(device="cpu").manual_seed(key >> 1)
    sigma, cut = _distribution(name, shape[-1])
    drawn = torch.empty(tuple(shape), dtype=torch.float32, device="cpu")
    limit = cut * sigma
    return nn.init.trunc_normal_(drawn, 0.0, sigma, -limit, limit, generator=generator)


def _distribution(name: str, last_dimension: int) -> tuple[float, float]:
    """Sigma, and at how many sigmas it is cut."""
    if name.endswith("embed_tokens.weight"):
        return EMBEDDING_SIGMA, 3.0
    if name.rpartition(".")[2].startswith("adaptive_"):
        return last_dimension**-0.5, 2.0
    return WEIGHT_SIGMA, 3.0
