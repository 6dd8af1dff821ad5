"""RMSNorm of a block of rows: ``n = x r w`` with ``r = (mean(x^2) + eps)^-1/2``.

Backward, with ``g = dn * w`` and ``y = x r``: ``dx = r (g - y mean(g y))``, ``dw = sum dn * y``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def inverse_rms(x: Tensor, epsilon: float) -> Tensor:
    """``r``, ``[rows, 1]``."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()


def normalize(x: Tensor, inverse: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """``n`` written to ``out``, ``[rows, width]``."""
    return torch.mul(x, inverse, out=out).mul_(weight)


def normalize_backward(
    grad: Tensor, x: Tensor, inverse: Tensor, weight: Tensor, grad_weight: Tensor, grad_x: Tensor
) -> None:
    """Add to ``grad_x`` and ``grad_weight``; ``grad`` (of ``n``) is used up as scratch."""
    unit = x * inverse
    product = grad * unit
    grad_weight += product.sum(dim=0)
    mean = torch.mv(product, weight).div_(x.shape[-1])
    grad.mul_(weight).addcmul_(unit, mean[:, None], value=-1.0)
    grad_x.addcmul_(grad, inverse)
