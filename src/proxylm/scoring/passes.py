"""Bits of chosen symbols of many sequences: the forward passes behind every likelihood score.

A sequence is a prefix that is always in view (``<bos>``, a sentinel, or more), content, and the
place from which the content counts. Content that is longer than the context goes through strided
windows (``models.scoring_windows``). Windows of like length are computed together, padded on the
right: a symbol never sees what comes after it, so neither the padding nor the company of a window
changes its bits beyond rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxylm.errors import DamagedWeightsError
from proxylm.models.cross_entropy import Ranges, chunked_cross_entropy
from proxylm.models.formats import Region
from proxylm.models.language_model import LanguageModel
from proxylm.models.scoring_windows import Window, default_stride, scoring_windows
from proxylm.symbols import PAD, Format
from proxylm.threads import in_order

BITS_PER_NAT = 1.0 / np.log(2.0)
DEFAULT_BATCH_SYMBOLS = 8192

Measure = TypeVar("Measure")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSequence:
    """What one sequence gives the model, and which part of it is scored.

    Attributes:
        prefix: int64 ``[p]`` ids that start every window, at least one.
        content: int64 ``[m]`` ids of one format.
        first_scored: content symbols before this one are read, but cost nothing.
    """

    prefix: NDArray[np.int64]
    content: NDArray[np.int64]
    first_scored: int = 0


def sequence_bits(
    model: LanguageModel,
    sequences: Sequence[ScoredSequence],
    *,
    context: int | None = None,
    stride: int | None = None,
    batch_symbols: int = DEFAULT_BATCH_SYMBOLS,
) -> NDArray[np.float64]:
    """Bits ``-log2 p`` of each sequence's scored symbols, in total, float64 ``[n]``.

    ``p`` is head 0's probability as it was trained: a softmax over the whole vocabulary, or with
    ``softmax: by_format`` over what can follow inside the content's format.

    Args:
        model: evaluated without gradients and left in the mode it was in.
        sequences: with ids of the model's vocabulary.
        context: most input symbols of a forward pass; None takes the model's training context.
        stride: symbols that each further window scores; None takes half of the context.
        batch_symbols: input symbols of the passes computed at a time; a matter of speed alone.

    Returns:
        float64 ``[len(sequences)]``.

    Raises:
        UsageError: impossible context or stride.
        DamagedWeightsError: the bits are no number.
    """
    totals = np.zeros(len(sequences), dtype=np.float64)
    measure = partial(_bits, model)
    for one, bits in _measured(model, sequences, measure, context, stride, batch_symbols):
        totals[one] += bits
    return totals


def bits_and_greediness(
    model: LanguageModel, sequences: Sequence[ScoredSequence]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """``sequence_bits``, and whether greedy decoding would write what they are the bits of.

    Greedy decoding inside the content's format; both come of the same forward passes.

    Returns:
        float64 and bool, ``[len(sequences)]`` each.

    Raises:
        DamagedWeightsError: the bits are no number.
    """
    totals = np.zeros(len(sequences), dtype=np.float64)
    greedy = np.ones(len(sequences), dtype=bool)

    def measure(hidden: Tensor, targets: Tensor) -> tuple[float, bool]:
        return _bits(model, hidden, targets), _all_are_largest(model, hidden, targets)

    for one, (bits, is_greedy) in _measured(model, sequences, measure):
        totals[one] += bits
        greedy[one] &= is_greedy
    return totals, greedy


def _measured(
    model: LanguageModel,
    sequences: Sequence[ScoredSequence],
    measure: Callable[[Tensor, Tensor], Measure],
    context: int | None = None,
    stride: int | None = None,
    batch_symbols: int = DEFAULT_BATCH_SYMBOLS,
) -> Iterator[tuple[int, Measure]]:
    """Per pass: its sequence, and what ``measure`` makes of the pass.

    ``measure`` gets the states ``[m, width]`` before the scored symbols, and those symbols' ids.
    """
    size = model.config.context if context is None else context
    passes = [
        one
        for index, sequence in enumerate(sequences)
        for one in _passes(index, sequence, size, stride)
    ]

    def measured(batch: list[_Pass]) -> list[tuple[int, Measure]]:
        states = zip(batch, _states_of(model, batch), strict=True)
        return [(one.index, measure(*pair)) for one, pair in states]

    on_cpu = model.lm_head.weight.device.type == "cpu"
    threads = torch.get_num_threads() if on_cpu else 1
    with evaluation_mode(model):
        longest = max((one.input_count for one in passes), default=1)
        # All workers together have no more symbols under way than one would have.
        workers = max(1, min(threads, batch_symbols // longest))
        batches = list(_batches(passes, batch_symbols // workers))
        for results in in_order(measured, batches, workers=min(workers, len(batches))):
            yield from results


@contextmanager
def evaluation_mode(model: LanguageModel) -> Iterator[None]:
    """Evaluation mode without gradients; the mode before comes back afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


@dataclass(frozen=True, slots=True)
class _Pass:
    """One window of one sequence as inputs: the prefix, then all its content but the last."""

    index: int
    sequence: ScoredSequence
    window: Window

    @property
    def input_count(self) -> int:
        return len(self.sequence.prefix) + self.window.end - self.window.start - 1


def _passes(
    index: int, sequence: ScoredSequence, context: int, stride: int | None
) -> Iterator[_Pass]:
    prefix_length = len(sequence.prefix)
    windows = scoring_windows(
        len(sequence.content),
        context=context,
        stride=default_stride(context, prefix_length) if stride is None else stride,
        prefix_length=prefix_length,
    )
    for window in windows:
        if window.end > sequence.first_scored:
            first = max(window.first_scored, sequence.first_scored)
            yield _Pass(index, sequence, Window(window.start, first, window.end))


def _batches(passes: list[_Pass], batch_symbols: int) -> Iterator[list[_Pass]]:
    # Longest first: the padding of a batch is then small, and memory trouble shows at once.
    rest = sorted(passes, key=lambda one: (-one.input_count, one.index, one.window.start))
    while rest:
        rows = max(1, batch_symbols // rest[0].input_count)
        yield rest[:rows]
        rest = rest[rows:]


def _states_of(model: LanguageModel, batch: list[_Pass]) -> Iterator[tuple[Tensor, Tensor]]:
    device = model.lm_head.weight.device
    inputs = np.full((len(batch), batch[0].input_count), PAD, dtype=np.int64)
    for row, one in enumerate(batch):
        prefix, content, window = one.sequence.prefix, one.sequence.content, one.window
        inputs[row, : len(prefix)] = prefix
        inputs[row, len(prefix) : one.input_count] = content[window.start : window.end - 1]
    hidden = model.hidden(torch.from_numpy(inputs).to(device))
    for row, one in enumerate(batch):
        window = one.window
        # The symbol at content offset j is predicted one input earlier.
        first = len(one.sequence.prefix) - 1 + window.first_scored - window.start
        targets = one.sequence.content[window.first_scored : window.end]
        states = hidden[row, first : first + len(targets)]
        yield states, torch.from_numpy(targets).to(device)


def _bits(model: LanguageModel, hidden: Tensor, targets: Tensor) -> float:
    bits = float(_nats(model, hidden, targets).sum()) * BITS_PER_NAT
    if not math.isfinite(bits):
        raise DamagedWeightsError
    return bits


def _nats(model: LanguageModel, hidden: Tensor, targets: Tensor) -> NDArray[np.float64]:
    """Head 0's negative log-likelihood of each target, ``[m]``; all targets of one format."""
    vocabulary = model.config.vocabulary_size
    ranges: Ranges = [(0, vocabulary)]
    if model.config.normalizes_by_format:
        ranges = _format_ranges(targets, vocabulary)
    scales = torch.ones(len(targets), device=hidden.device)
    weight = model.lm_head.weight[:vocabulary]
    return chunked_cross_entropy(hidden, weight, targets, scales, ranges)[1].double().cpu().numpy()


def _all_are_largest(model: LanguageModel, hidden: Tensor, targets: Tensor) -> bool:
    """Whether each target has head 0's largest logit of what may stand in its format."""
    weight = model.lm_head.weight
    ranges = _format_ranges(targets, model.config.vocabulary_size)
    largest = torch.full_like(hidden[:, 0], -torch.inf)
    chosen = torch.full_like(targets, -1)
    for start, end in ranges:
        values, places = (hidden @ weight[start:end].T).max(dim=1)
        chosen = torch.where(values > largest, places + start, chosen)
        largest = torch.maximum(values, largest)
    return bool((chosen == targets).all())


def _format_ranges(targets: Tensor, vocabulary: int) -> Ranges:
    raw = int(targets[0]) < Format.COMPRESSED.offset
    return (Region.RAW if raw else Region.COMPRESSED).ranges(vocabulary)
