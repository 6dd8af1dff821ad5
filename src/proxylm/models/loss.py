"""The loss of all prediction heads over one batch (method, section 5).

Each position's loss is the mean over the heads it trains; the batch's loss is the mean over the
positions that train any. Shared heads read the first ``H1`` targets; raw heads the next ``H2``, and
only where every target of the position is raw, special or masked, and not all are masked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from proxylm.errors import DataError
from proxylm.models.cross_entropy import Ranges, chunked_cross_entropy
from proxylm.models.formats import Region, regions, target_formats
from proxylm.symbols import COMPRESSED_OFFSET, RAW_OFFSET

RangesOf = dict[Region | None, Ranges]
"""The ids that a head's softmax runs over, by where a position stands; None is anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossReport:
    """Loss of one batch in nats, and each head's part of it by the format of its targets.

    Attributes:
        loss: scalar, differentiable.
        positions: scalar int64, positions that train a head (the loss's denominator).
        nats: float64 ``[H1 + H2, 3]``, each head's negative log-likelihood, summed over its
            special, raw and compressed targets.
        counts: int64 ``[H1 + H2, 3]``, how many of each it was trained on.
    """

    loss: Float32[Tensor, ""]
    positions: Int64[Tensor, ""]
    nats: Float64[Tensor, "head 3"]
    counts: Int64[Tensor, "head 3"]


@dataclass(frozen=True, slots=True)
class OutputLayers:
    """Weights of the heads: ``shared [H1, V, width]`` and, where there are any, ``raw``."""

    shared: Float[Tensor, "head vocabulary width"]
    raw: Float[Tensor, "raw_head 320 width"] | None
    by_format: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteTargets:
    """Distributions of bytes that a teacher gives some positions (distillation).

    Attributes:
        rows: int64 ``[m]``, positions of the batch, all contexts in a row.
        probabilities: float32 ``[m, 256]``; each sums to 1.
        weight: of these targets, beside 1 for the symbols themselves.
    """

    rows: Int64[Tensor, " row"]
    probabilities: Float32[Tensor, "row 256"]
    weight: float


def teacher_loss(
    hidden: Float32[Tensor, "position width"],
    output: Float[Tensor, "vocabulary width"],
    taught: ByteTargets,
    denominator: int | Tensor,
) -> Float32[Tensor, ""]:
    """Cross-entropy of bytes, under the softmax of raw text, with what a teacher says of them.

    Args:
        hidden: ``[n, width]``, after the final norm.
        output: rows of the first shared head.
        taught: the targets.
        denominator: divides the sum, as in ``heads_loss``.
    """
    logits = F.linear(hidden[taught.rows], output[:COMPRESSED_OFFSET]).float()
    nats = -torch.log_softmax(logits, dim=-1)[:, RAW_OFFSET:]
    return taught.weight * (taught.probabilities * nats).sum() / denominator


def heads_loss(
    hidden: Float32[Tensor, "position width"],
    inputs: Int64[Tensor, " position"],
    targets: Int64[Tensor, "position heads"],
    outputs: OutputLayers,
    *,
    normalizer: int | None = None,
) -> LossReport:
    """Loss of every head, and its sums per format.

    Args:
        hidden: ``[n, width]``, after the final norm.
        inputs: int64 ``[n]``, the symbols at the positions (they decide what can follow).
        targets: int64 ``[n, H1 + H2]``; ``IGNORED_TARGET`` trains nothing.
        outputs: the heads' weights.
        normalizer: divides the loss instead of the number of training positions; a step whose
            contexts are processed in slices passes the positions of the whole step.

    Raises:
        DataError: with ``by_format``, a target of head 0 that cannot follow its input.
    """
    trained = _trained_targets(inputs, targets, outputs)
    heads_per_position = trained.sum(dim=1)
    positions = (heads_per_position > 0).sum()
    denominator = positions.clamp(min=1) if normalizer is None else normalizer
    scales = 1.0 / (heads_per_position.clamp(min=1) * denominator).float()
    losses, sums, counts = [], [], []
    for head, weight, ranges_of in _heads(outputs):
        nats = torch.zeros(len(hidden), device=hidden.device)
        for rows, ranges in _row_groups(trained[:, head], inputs, ranges_of):
            part, nats[rows] = chunked_cross_entropy(
                hidden[rows], weight, targets[rows, head], scales[rows], ranges
            )
            losses.append(part)
        sums_of_head, counts_of_head = _sums_per_format(nats, targets[:, head], trained[:, head])
        sums.append(sums_of_head)
        counts.append(counts_of_head)
    loss = torch.stack(losses).sum() if losses else hidden.sum() * 0.0
    return LossReport(
        loss=loss, positions=positions, nats=torch.stack(sums), counts=torch.stack(counts)
    )


def _trained_targets(inputs: Tensor, targets: Tensor, outputs: OutputLayers) -> Tensor:
    shared_heads = outputs.shared.shape[0]
    trained = targets >= 0
    if outputs.raw is not None:
        raw_only = (targets < COMPRESSED_OFFSET).all(dim=1)
        trained[:, shared_heads:] &= raw_only[:, None]
    if outputs.by_format:
        trained[:, :shared_heads] &= _can_be_predicted(inputs, targets[:, :shared_heads])
    return trained


def _can_be_predicted(inputs: Tensor, targets: Tensor) -> Tensor:
    # Heads further ahead may meet a symbol of a format that starts in between: it trains nothing.
    formats, region = target_formats(targets), regions(inputs)[:, None]
    possible = (formats <= 0) | (formats == region)
    impossible = ~possible[:, 0]
    if bool(impossible.any()):
        row = int(impossible.nonzero()[0])
        raise DataError(
            f"softmax by_format: symbol {int(targets[row, 0])} cannot follow symbol "
            f"{int(inputs[row])}; it needs contexts with sentinels (mixing.sentinels: true)"
        )
    return possible


def _heads(outputs: OutputLayers) -> list[tuple[int, Tensor, RangesOf]]:
    shared_heads, vocabulary, _ = outputs.shared.shape
    ranges: RangesOf = {None: [(0, vocabulary)]}
    if outputs.by_format:
        ranges = {region: region.ranges(vocabulary) for region in Region}
    heads = [(head, outputs.shared[head], ranges) for head in range(shared_heads)]
    if outputs.raw is not None:
        raw_ranges: RangesOf = {None: [(0, COMPRESSED_OFFSET)]}
        heads += [(shared_heads + i, weight, raw_ranges) for i, weight in enumerate(outputs.raw)]
    return heads


def _row_groups(
    trained: Tensor, inputs: Tensor, ranges_of: RangesOf
) -> Iterator[tuple[Tensor | slice, Ranges]]:
    # Rows that share the ids their softmax runs over.
    for region, ranges in ranges_of.items():
        chosen = trained if region is None else trained & (regions(inputs) == region)
        if bool(chosen.all()):
            yield slice(None), ranges  # nothing is copied
        elif len(rows := chosen.nonzero().squeeze(1)):
            yield rows, ranges


def _sums_per_format(nats: Tensor, targets: Tensor, trained: Tensor) -> tuple[Tensor, Tensor]:
    # Rows that train nothing have zero nats: chosen rows would have to be counted on the host.
    formats = target_formats(targets).clamp(min=0)
    sums = torch.zeros(len(Region), dtype=torch.float64, device=nats.device)
    sums.index_add_(0, formats, nats.double())
    counts = torch.zeros(len(Region), dtype=torch.int64, device=nats.device)
    return sums, counts.index_add_(0, formats, trained.long())
