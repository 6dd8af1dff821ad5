"""Attention over runs, forward and backward, by batched matrix products on blocks of queries.

A run's keys are ``[its document's summaries | the run itself]``; a block of queries meets the keys
up to its own end, so that only the block's own triangle is masked. Softmax weights are kept for
backward while they are few, and computed again where they are many.

With ``P = softmax(s Q K^T)``, ``O = P V`` and ``s = D^-1/2``, backward is

    dV = P^T dO        dP = dO V^T        dZ = P (dP - sum_j P_j dP_j)
    dQ = s dZ K        dK = s dZ^T Q

Products are batched over runs and heads, ``[G H, q, S + L]`` and the like (letters: the folder's
docstring).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from proxylm.models.kernels.training.runs import Run, RunPlan

QUERIES_PER_BLOCK = 128
"""Of a block's own square half is computed in vain: few waste little, many multiply fast."""
SCORES_PER_PRODUCT = 1 << 20
"""``G H q (S + L)`` of one batched product: 4 MiB, that softmax finds in the cache."""
KEPT_BYTES_PER_LAYER = 192 << 20
"""Softmax weights of all heads and contexts; beyond, memory is dearer than a second product."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Heads of rows or their gradients: views ``[R, H or H_kv, D]``; summaries ``[B M, H, D]``."""

    query: Tensor
    key: Tensor
    value: Tensor
    summary_key: Tensor
    summary_value: Tensor


def attend_runs(heads: Heads, plan: RunPlan, out: Tensor, *, keep: bool) -> list[Tensor]:
    """Write the attention output to ``out [R, H, D]``; return softmax weights for backward.

    The list is empty unless ``keep``, and where the weights would take more than
    ``KEPT_BYTES_PER_LAYER``.
    """
    keep = keep and _probability_bytes(plan, heads.query.shape[1]) <= KEPT_BYTES_PER_LAYER
    kept = []
    for runs in _batches(plan, heads.query.shape[1]):
        query, key, value = _gather_all(heads, runs)
        for start, end, visible in _query_blocks(runs[0]):
            weights = _probabilities(query[:, start:end], key[:, :visible])
            result = torch.bmm(weights, value[:, :visible])
            _scatter(result, out, runs, start)
            if keep:
                kept.append(weights)
    return kept


def attend_runs_backward(
    grad_out: Tensor, heads: Heads, plan: RunPlan, kept: list[Tensor], grads: Heads
) -> None:
    """Write the gradients of queries, keys and values to ``grads``, add those of summaries.

    Args:
        grad_out: ``[R, H, D]``.
        kept: what ``attend_runs`` returned.
        grads: all rows are written once; summaries' gradients must start at zero.
    """
    remaining = iter(kept)
    scale = heads.query.shape[-1] ** -0.5
    for runs in _batches(plan, heads.query.shape[1]):
        query, key, value = _gather_all(heads, runs)
        grad_result = _gather(grad_out, runs)
        grad_key, grad_value = query.new_zeros(key.shape), query.new_zeros(value.shape)
        for start, end, visible in _query_blocks(runs[0]):
            queries, keys = query[:, start:end], key[:, :visible]
            weights = next(remaining) if kept else _probabilities(queries, keys)
            grad_block = grad_result[:, start:end]
            grad_value[:, :visible].baddbmm_(weights.transpose(1, 2), grad_block)
            grad_scores = torch.bmm(grad_block, value[:, :visible].transpose(1, 2))
            # In place; torch's own kernel, since the formula in steps would be three passes.
            torch._softmax_backward_data(
                grad_scores, weights, -1, weights.dtype, grad_input=grad_scores
            )
            # beta=0 reads nothing of the target: this is bmm with a factor, in one pass.
            grad_query = torch.empty_like(queries, memory_format=torch.contiguous_format)
            torch.baddbmm(grad_query, grad_scores, keys, beta=0, alpha=scale, out=grad_query)
            _scatter(grad_query, grads.query, runs, start)
            grad_key[:, :visible].baddbmm_(grad_scores.transpose(1, 2), queries, alpha=scale)
        _scatter_keys(grad_key, grads.summary_key, grads.key, runs)
        _scatter_keys(grad_value, grads.summary_value, grads.value, runs)


def _probability_bytes(plan: RunPlan, head_count: int) -> int:
    scores = sum(
        len(runs) * (end - start) * visible
        for runs in plan.groups
        for start, end, visible in _query_blocks(runs[0])
    )
    return 4 * head_count * scores


def _batches(plan: RunPlan, head_count: int) -> Iterator[Sequence[Run]]:
    # Runs of equal shape, as many at a time as keep one product's scores in cache.
    for runs in plan.groups:
        widest = runs[0].summary_count + runs[0].length
        scores = head_count * min(runs[0].length, QUERIES_PER_BLOCK) * widest
        step = max(1, SCORES_PER_PRODUCT // scores)
        for first in range(0, len(runs), step):
            yield runs[first : first + step]


def _query_blocks(run: Run) -> Iterator[tuple[int, int, int]]:
    # (first query, end, keys visible to the block's last query)
    for start in range(0, run.length, QUERIES_PER_BLOCK):
        end = min(start + QUERIES_PER_BLOCK, run.length)
        yield start, end, run.summary_count + end


def _probabilities(queries: Tensor, keys: Tensor) -> Tensor:
    # P [G H, q, keys] of queries that are the last q of the keys
    batch, count, width = queries.shape
    scores = queries.new_empty(batch, count, keys.shape[1])
    torch.baddbmm(scores, queries, keys.transpose(1, 2), beta=0, alpha=width**-0.5, out=scores)
    # Everything before the block's own positions is visible to all of it.
    scores[:, :, keys.shape[1] - count :] += _future(count)
    return torch.softmax(scores, -1, out=scores)


@cache
def _future(count: int) -> Tensor:
    # Minus infinity above the diagonal: at most QUERIES_PER_BLOCK such masks ever exist.
    return torch.full((count, count), -torch.inf).triu_(1)


def _gather_all(heads: Heads, runs: Sequence[Run]) -> tuple[Tensor, Tensor, Tensor]:
    count = heads.query.shape[1]
    return (
        _gather(heads.query, runs),
        _gather_keys(heads.summary_key, heads.key, runs, count),
        _gather_keys(heads.summary_value, heads.value, runs, count),
    )


def _gather(rows: Tensor, runs: Sequence[Run]) -> Tensor:
    # [R, H, D] -> [G H, L, D]; one run alone is only a view.
    parts = [rows[run.start : run.start + run.length].transpose(0, 1) for run in runs]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _gather_keys(summaries: Tensor, rows: Tensor, runs: Sequence[Run], head_count: int) -> Tensor:
    # -> [G H, S + L, D], a shared key head repeated for its group of query heads.
    shape = runs[0]
    _, heads, width = rows.shape
    if len(runs) == 1 and not shape.summary_count and heads == head_count:
        return _gather(rows, runs)
    repeats = head_count // heads
    visible = shape.summary_count + shape.length
    out = rows.new_empty(len(runs), heads, repeats, visible, width)
    for index, run in enumerate(runs):
        own = rows[run.start : run.start + run.length].transpose(0, 1)
        out[index, :, :, run.summary_count :] = own[:, None]
        if run.summary_count:
            seen = summaries[run.first_summary : run.first_summary + run.summary_count]
            out[index, :, :, : run.summary_count] = seen.transpose(0, 1)[:, None]
    return out.flatten(0, 2)


def _scatter(block: Tensor, rows: Tensor, runs: Sequence[Run], start: int) -> None:
    # block [G H, q, D] -> rows of each run from its own row ``start`` on
    by_run = block.unflatten(0, (len(runs), -1))
    for index, run in enumerate(runs):
        first = run.start + start
        rows[first : first + block.shape[1]] = by_run[index].transpose(0, 1)


def _scatter_keys(grad: Tensor, summaries: Tensor, rows: Tensor, runs: Sequence[Run]) -> None:
    # grad [G H, S + L, D] -> written to the runs' rows (each is in one run), added to summaries
    # (which several runs see); summed over the query heads that share a key head
    heads = rows.shape[1]
    grouped = grad.unflatten(0, (len(runs), heads, -1))
    by_run = grouped.squeeze(2) if grouped.shape[2] == 1 else grouped.sum(dim=2)
    for index, run in enumerate(runs):
        by_row = by_run[index].transpose(0, 1)
        rows[run.start : run.start + run.length] = by_row[run.summary_count :]
        if run.summary_count:
            seen = slice(run.first_summary, run.first_summary + run.summary_count)
            summaries[seen] += by_row[: run.summary_count]
