"""Bits of chosen symbols of many sequences: the forward passes behind every likelihood score.

A sequence is a prefix that is always in view (``<bos>``, a sentinel, or more), content, and the
place from which the content counts. Content that is longer than the context goes through strided
windows (``models.scoring_windows``). Windows of like length are computed together, padded on the
right: a symbol never sees what comes after it, so neither the padding nor the company of a window
changes its bits beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float64
from numpy.typing import NDArray
from torch import Tensor

from proxylm.errors import UsageError
from proxylm.groups import longest_first
from proxylm.inputs import require_whole
from proxylm.models.language_model import LanguageModel
from proxylm.models.scoring_windows import ScoringWindow, default_stride, scoring_windows
from proxylm.progress import TellCount, untold
from proxylm.ranks import ALONE, Ranks
from proxylm.scoring.predictors import OurPredictor, Predictor
from proxylm.scoring.readings import content_ids, prefix_of
from proxylm.scoring.sequences import ScoredSequence
from proxylm.symbols import PAD, Format
from proxylm.threads import in_order

Measured = TypeVar("Measured")

SYMBOLS = "symbols read"
"""What a scoring counts."""


def symbol_bits(
    predictor: Predictor,
    sequences: Sequence[ScoredSequence],
    *,
    context: int | None = None,
    stride: int | None = None,
    progress: TellCount = untold,
) -> list[Float64[np.ndarray, " scored"]]:
    """Bits ``-log2 p`` of each sequence's scored symbols, one by one (method, section 9).

    Args:
        predictor: the model; evaluated without gradients and left in the mode it was in.
        sequences: with ids of the model's vocabulary.
        context: most input symbols of a forward pass; None takes the model's own.
        stride: symbols that each further window scores; None takes half of the context.
        progress: hears how many symbols have been read.

    Returns:
        Per sequence float64 ``[m - first_scored]``.

    Raises:
        UsageError: impossible context or stride, or ids that the model does not have.
        DamagedWeightsError, DataError: the bits are no numbers.
    """
    bits = [np.zeros(len(one.content) - one.first_scored) for one in sequences]
    for one, measured in _measured(predictor, sequences, predictor.bits, progress, context, stride):
        first = one.sequence.first_scored
        bits[one.index][one.window.first_scored - first : one.window.end - first] = measured
    return bits


def sequence_bits(
    model: LanguageModel,
    sequences: Sequence[ScoredSequence],
    *,
    stride: int | None = None,
    ranks: Ranks = ALONE,
    progress: TellCount = untold,
) -> Float64[np.ndarray, " sequence"]:
    """``symbol_bits`` of a model of ours, in total."""
    predictor = OurPredictor(model, ranks)
    bits = symbol_bits(predictor, sequences, stride=stride, progress=progress)
    return np.array([one.sum() for one in bits], dtype=np.float64)


def content_bits(
    model: LanguageModel,
    contents: Sequence[NDArray[Any]],
    content_format: Format,
    *,
    stride: int | None = None,
    ranks: Ranks = ALONE,
) -> Float64[np.ndarray, " content"]:
    """``sequence_bits`` of symbols that are at hand already, such as a stored view's.

    Args:
        model: the model.
        contents: symbols ``[m_i]`` without the format's offset; may be empty (0 bits).
        content_format: what they are.
        stride: as in ``symbol_bits``.
        ranks: that share the passes; each gets the bits of its own, which have to be added.

    Raises:
        UsageError: contents are no symbols that the model has in this format, or as above.
    """
    prefix = prefix_of(content_format, sentinels=model.config.sentinels)
    sequences = [
        ScoredSequence(
            prefix=prefix,
            content=content_ids(model.config, content, content_format, name=f"document {index}"),
        )
        for index, content in enumerate(contents)
    ]
    return sequence_bits(model, sequences, stride=stride, ranks=ranks)


def bits_and_greediness(
    model: LanguageModel, sequences: Sequence[ScoredSequence], progress: TellCount = untold
) -> tuple[Float64[np.ndarray, " sequence"], Bool[np.ndarray, " sequence"]]:
    """``sequence_bits``, and whether greedy decoding would write what they are the bits of.

    Greedy decoding inside the content's format; both come of the same forward passes.

    Raises:
        DamagedWeightsError: the bits are no number.
    """
    totals = np.zeros(len(sequences), dtype=np.float64)
    greedy = np.ones(len(sequences), dtype=bool)
    predictor = OurPredictor(model)

    def measure(states: Tensor, targets: Tensor) -> tuple[float, bool]:
        return predictor.bits(states, targets).sum(), predictor.are_largest(states, targets)

    for one, (bits, is_greedy) in _measured(predictor, sequences, measure, progress):
        totals[one.index] += bits
        greedy[one.index] &= is_greedy
    return totals, greedy


@dataclass(frozen=True, slots=True)
class _Pass:
    """One window of one sequence as inputs: the prefix, then all its content but the last."""

    index: int
    sequence: ScoredSequence
    window: ScoringWindow

    @property
    def input_count(self) -> int:
        return len(self.sequence.prefix) + self.window.end - self.window.start - 1


def _measured(
    predictor: Predictor,
    sequences: Sequence[ScoredSequence],
    measure: Callable[[Tensor, Tensor], Measured],
    progress: TellCount,
    context: int | None = None,
    stride: int | None = None,
) -> Iterator[tuple[_Pass, Measured]]:
    """Each pass, and what ``measure`` makes of it; the other arguments are ``symbol_bits``'s.

    ``measure`` gets the states ``[m, ...]`` before the scored symbols, and their ids ``[m]``.
    """

    def measured(batch: list[_Pass]) -> list[tuple[_Pass, Measured]]:
        states = zip(batch, _states_of(predictor, batch), strict=True)
        return [(one, measure(*pair)) for one, pair in states]

    for name, given in (("context", context), ("stride", stride)):
        if given is not None:
            require_whole(name, given)
    size = predictor.context if context is None else context
    passes: list[_Pass] = []
    for index, sequence in enumerate(sequences):
        _require_ids(sequence, predictor.vocabulary_size)
        passes += _passes(index, sequence, size, stride)
    with predictor.evaluating():
        lengths = [one.input_count for one in passes]
        longest = max(lengths, default=1)
        # All workers together have no more symbols under way than one would have.
        workers = max(1, min(predictor.workers, predictor.batch_symbols // longest))
        ranks = predictor.ranks
        groups = longest_first(lengths, ranks.world * predictor.batch_symbols // workers)
        batches = [[passes[row] for row in rows] for rows in groups]
        if not ranks.is_alone:
            yield from _of_rank(ranks, batches, measured)
            return
        done, total = 0, sum(lengths)
        progress(SYMBOLS, done, total)
        for results in in_order(measured, batches, workers=min(workers, len(batches))):
            yield from results
            done += sum(one.input_count for one, _ in results)
            progress(SYMBOLS, done, total)


def _of_rank(
    ranks: Ranks,
    batches: list[list[_Pass]],
    measured: Callable[[list[_Pass]], list[tuple[_Pass, Measured]]],
) -> Iterator[tuple[_Pass, Measured]]:
    """The passes of one rank; each rank makes equally many, some of them for nothing."""
    for batch in batches:
        own = batch[ranks.rank :: ranks.world]
        results = measured(own or batch[:1])
        yield from results if own else ()


def _states_of(predictor: Predictor, batch: list[_Pass]) -> Iterator[tuple[Tensor, Tensor]]:
    inputs = np.full((len(batch), batch[0].input_count), PAD, dtype=np.int64)
    for row, one in enumerate(batch):
        prefix, content, window = one.sequence.prefix, one.sequence.content, one.window
        inputs[row, : len(prefix)] = prefix
        inputs[row, len(prefix) : one.input_count] = content[window.start : window.end - 1]
    states = predictor.states(torch.from_numpy(inputs).to(predictor.device))
    for row, one in enumerate(batch):
        window = one.window
        # The symbol at content offset j is predicted one input earlier.
        first = len(one.sequence.prefix) - 1 + window.first_scored - window.start
        targets = one.sequence.content[window.first_scored : window.end]
        before = states[row, first : first + len(targets)]
        yield before, torch.from_numpy(targets).to(predictor.device)


def _require_ids(sequence: ScoredSequence, vocabulary_size: int | None) -> None:
    if vocabulary_size is None:
        return
    for ids in (sequence.prefix, sequence.content):
        if ids.size and not 0 <= ids.min() <= ids.max() < vocabulary_size:
            wrong = ids[(ids < 0) | (ids >= vocabulary_size)][0]
            raise UsageError(
                f"documents are read as id {wrong}, and the model's vocabulary has "
                f"{vocabulary_size} ids: it reads them in another way (read_as)"
            )


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
            yield _Pass(index, sequence, ScoringWindow(window.start, first, window.end))
