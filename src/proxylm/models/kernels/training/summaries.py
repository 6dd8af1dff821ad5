"""Chunk summaries and their gradients, by formula (see ``proxylm.models.summaries``).

Over a chunk, ``a = softmax(u)`` with ``u_j = mu . k_j``, and ``b = softmax(w)`` with
``w_j = s (phi . k_j - |k_j|^2 / 2)``. Where the summary key ``sum a_j k_j`` has gradient ``g`` and
the summary value ``sum b_j v_j`` has gradient ``h``:

    du_j = a_j (g . k_j - sum_i a_i g . k_i)        dw_j = b_j (h . v_j - sum_i b_i h . v_i)
    dk_j = a_j g + du_j mu + s dw_j (phi - k_j)     dv_j = b_j h
    dmu = sum du_j k_j                              dphi = s sum dw_j k_j

Masked positions count as zero: their keys are set to zero while a pass (``runs.SummaryPass``) runs
and put back after it, so that no copy of all keys is needed. In the code ``du`` and ``dw`` are
``[H, M C]`` of one pass, and ``dw`` carries the factor ``s`` already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from proxylm.models.kernels.training.runs import SummaryPass


@dataclass(frozen=True, slots=True)
class ChunkWeights:
    """Softmax weights of one pass, ``[H, M, C]`` each: ``key`` is ``a``, ``value`` is ``b``."""

    key: Tensor
    value: Tensor


def summarize(
    key: Tensor, value: Tensor, mu: Tensor, phi: Tensor, passes: Sequence[SummaryPass]
) -> tuple[Tensor, Tensor, list[ChunkWeights]]:
    """Summary keys and values ``[B M, H, D]`` of rows ``[R, H, D]``, and what backward needs."""
    count = passes[-1].summaries.stop if passes else 0
    summary_key, summary_value = key.new_empty(2, count, *key.shape[1:])
    weights = []
    for part in passes:
        keys, values = key[part.rows], value[part.rows]
        with restored(keys, part.masked, zero=True):
            weights.append(chunk_weights(keys, mu, phi, part.masked, part.chunk))
            weighted_sum(keys, weights[-1].key, summary_key[part.summaries])
        # A masked value has weight zero: it need not be zero itself.
        weighted_sum(values, weights[-1].value, summary_value[part.summaries])
    return summary_key, summary_value, weights


def summarize_backward(
    rows: tuple[Tensor, Tensor],
    vectors: tuple[Tensor, Tensor],
    weights: Sequence[ChunkWeights],
    passes: Sequence[SummaryPass],
    summary_grads: tuple[Tensor, Tensor],
    grads: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Add to the gradients ``grads`` of keys and values; gradients of ``mu`` and ``phi``.

    Args:
        rows: keys and values ``[R, H, D]``.
        vectors: ``mu`` and ``phi`` ``[H, D]``.
        weights: what ``summarize`` returned.
        summary_grads: gradients of summary keys and values ``[B M, H, D]``.
        grads: gradients of ``rows`` so far.
    """
    grad_vectors = vectors[0].new_zeros(vectors[0].shape[0], 2, vectors[0].shape[1])
    for part, part_weights in zip(passes, weights, strict=True):
        keys, values = (x[part.rows] for x in rows)
        out = grads[0][part.rows], grads[1][part.rows]
        part_grads = summary_grads[0][part.summaries], summary_grads[1][part.summaries]
        with restored(keys, part.masked, zero=True), restored(out[0], part.masked):
            grad_vectors += chunks_backward(keys, values, *vectors, part_weights, part_grads, out)
    return grad_vectors[:, 0], grad_vectors[:, 1]


@contextmanager
def restored(rows: Tensor, masked: Tensor, *, zero: bool = False) -> Iterator[None]:
    """Afterwards ``rows[masked]`` is what it was; within, it may be written to, or is zero."""
    if not len(masked):
        yield
        return
    kept = rows[masked]
    if zero:
        rows[masked] = 0.0
    try:
        yield
    finally:
        rows[masked] = kept


def chunk_weights(
    keys: Tensor, mu: Tensor, phi: Tensor, masked: Tensor, chunk: int
) -> ChunkWeights:
    """Weights of chunks of ``keys [rows, H, D]`` (masked rows zero); ``masked`` indexes rows."""
    scale = keys.shape[-1] ** -0.5
    by_head = keys.transpose(0, 1)
    # Both products with the keys in one: [H, M C, D] x [H, D, 2]
    logits = torch.bmm(by_head, torch.stack([mu, phi * scale], dim=-1))
    norms = torch.linalg.vector_norm(by_head, dim=-1).square_()
    key_logits = logits[..., 0].unflatten(1, (-1, chunk))
    value_logits = torch.add(logits[..., 1], norms, alpha=-0.5 * scale)
    # Only here: the first softmax runs over masked positions too, with the logit 0 of a zero key.
    value_logits[:, masked] = -torch.inf
    return ChunkWeights(
        torch.softmax(key_logits, -1), torch.softmax(value_logits.unflatten(1, (-1, chunk)), -1)
    )


def weighted_sum(rows: Tensor, weights: Tensor, out: Tensor) -> None:
    """``out [M, H, D]``: sum over each chunk of ``rows [M C, H, D]`` by ``weights [H, M, C]``."""
    heads, chunks, chunk = weights.shape
    weighted = rows * weights.permute(1, 2, 0).reshape(chunks * chunk, heads, 1)
    torch.sum(weighted.unflatten(0, (chunks, chunk)), dim=1, out=out)


def chunks_backward(
    keys: Tensor,
    values: Tensor,
    mu: Tensor,
    phi: Tensor,
    weights: ChunkWeights,
    grads: tuple[Tensor, Tensor],
    out: tuple[Tensor, Tensor],
) -> Tensor:
    """Add the gradients of ``keys`` and ``values`` ``[M C, H, D]`` to ``out``.

    Args:
        grads: gradients ``g`` and ``h`` of summary keys and values, ``[M, H, D]``.

    Returns:
        ``[H, 2, D]``: the gradients of ``mu`` and ``phi``.
    """
    chunk, scale = weights.key.shape[-1], keys.shape[-1] ** -0.5
    grad_key, grad_value = (grad.repeat_interleave(chunk, dim=0) for grad in grads)
    du = _softmax_backward((grad_key * keys).sum(-1), weights.key)
    dw = _softmax_backward((grad_value * values).sum(-1), weights.value).mul_(scale)
    rows = keys.shape[0]
    out[1].addcmul_(grad_value, weights.value.permute(1, 2, 0).reshape(rows, -1, 1))
    out[0].addcmul_(grad_key, weights.key.permute(1, 2, 0).reshape(rows, -1, 1))
    out[0].addcmul_(keys, dw.t()[..., None], value=-1.0)
    # du mu + dw phi, and du k and dw k summed over positions: one product each for both vectors.
    pair = torch.stack([du, dw], dim=-1)
    out[0].add_(torch.bmm(pair, torch.stack([mu, phi], dim=1)).transpose(0, 1))
    return torch.bmm(pair.transpose(1, 2), keys.transpose(0, 1))


def _softmax_backward(grad: Tensor, weights: Tensor) -> Tensor:
    # grad [M C, H] -> [H, M C]
    heads, chunks, chunk = weights.shape
    by_chunk = grad.t().reshape(heads, chunks, chunk)
    return torch._softmax_backward_data(by_chunk, weights, -1, weights.dtype).reshape(heads, -1)
