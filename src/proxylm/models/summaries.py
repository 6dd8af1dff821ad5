"""Chunk summaries of EVA: one key and one value stand for a chunk of an earlier window.

With keys ``k_j`` and values ``v_j`` of a chunk, ``s = D^-1/2``, and learned ``mu, phi [H, D]``
(method, section 5):

    key   = sum_j softmax_j(mu . k_j) k_j
    value = sum_j softmax_j(s (phi . k_j - |k_j|^2 / 2)) v_j

Positions of other documents than the chunk's last are masked: their key and value count as zero;
the first softmax still runs over them (logit 0), the second leaves them out.
"""

from __future__ import annotations

import torch
from torch import Tensor


def summarize_chunks(
    keys: Tensor, values: Tensor, mu: Tensor, phi: Tensor, kept: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Summaries of chunks.

    Args:
        keys, values: ``[..., C, H, D]``, keys with their rotation applied.
        mu, phi: ``[H, D]``.
        kept: boolean ``[..., C]``, false where a position belongs to an earlier document;
            None keeps all.

    Returns:
        Summary keys and values, ``[..., H, D]``.
    """
    head_width = keys.shape[-1]
    if kept is not None:
        keys = keys * kept[..., None, None].to(keys.dtype)
        values = values * kept[..., None, None].to(values.dtype)
    key_weights = torch.softmax((keys * mu).sum(-1, dtype=torch.float32), dim=-2)
    logits = (keys * phi).sum(-1, dtype=torch.float32)
    logits = head_width**-0.5 * (logits - 0.5 * keys.square().sum(-1, dtype=torch.float32))
    if kept is not None:
        logits = logits.masked_fill(~kept[..., None], -torch.inf)
    value_weights = torch.softmax(logits, dim=-2)
    summary_keys = (key_weights[..., None].to(keys.dtype) * keys).sum(dim=-3)
    summary_values = (value_weights[..., None].to(values.dtype) * values).sum(dim=-3)
    return summary_keys, summary_values
