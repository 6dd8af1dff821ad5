"""What one training step shows, counted from its spans: the numbers that training logs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.data.packing.plan import Plan, PlannedBlock
from proxylm.data.packing.spans import (
    COMPRESSED,
    HAS_BOS,
    HAS_CLOSE,
    HAS_EOS,
    HAS_OPEN,
    PADDING,
    PAIR_MEETS,
    RAW,
    STARTS_DOCUMENT,
    STARTS_PAIR,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStatistics:
    """Counts over all contexts of one step.

    Attributes:
        rate_asked: mean of the rates that the step's contexts were packed at: the schedule's rate
            at this step, but where ``when_exhausted: stop`` ends the data while the rate varies.
        rate_shown: views shown compressed / all views that begin in this step (a view: of a
            document, or of a piece); NaN where none begins.
        views: views that begin in this step.
        pairs: translation pairs that begin here; every part of a split pair counts.
        pairs_in_one_context: those whose two views stand in one context.
        documents_started: documents that begin here.
        raw_bytes: bytes of documents represented, in whatever view; a pair's count once.
        raw_symbols, compressed_symbols, special_symbols, padding: what the contexts hold.
        epochs: for each source, how often it has been read up to here (in packing order).
    """

    rate_asked: float
    rate_shown: float
    views: int
    pairs: int
    pairs_in_one_context: int
    documents_started: int
    raw_bytes: int
    raw_symbols: int
    compressed_symbols: int
    special_symbols: int
    padding: int
    epochs: list[float]

    def to_json(self) -> dict[str, Any]:
        """Plain values; a rate that is not defined is None."""
        values = asdict(self)
        if not self.views:
            values["rate_shown"] = None
        return values


def step_statistics(plan: Plan, block: PlannedBlock, step: int) -> StepStatistics:
    """Count one step of a planned block."""
    contexts = block.contexts_of(step)
    spans = np.concatenate([block.spans_of(context) for context in contexts])
    marks, length = spans["marks"], spans["length"]
    views = _per_format(spans, spans["views"])
    symbols = _per_format(spans, length)
    specials = sum(int((marks & bit != 0).sum()) for bit in (HAS_BOS, HAS_OPEN, HAS_CLOSE, HAS_EOS))
    rate = plan.rates[step]
    num_views = views[RAW] + views[COMPRESSED]
    return StepStatistics(
        # A mean of differences: that of equal rates is exact.
        rate_asked=float(rate + (block.rates[contexts] - rate).mean()),
        rate_shown=views[COMPRESSED] / num_views if num_views else float("nan"),
        views=num_views,
        pairs=_count(marks, STARTS_PAIR),
        pairs_in_one_context=_count(marks, PAIR_MEETS),
        documents_started=_count(marks, STARTS_DOCUMENT),
        raw_bytes=int(spans["num_bytes"].sum(dtype=np.int64)),
        raw_symbols=symbols[RAW],
        compressed_symbols=symbols[COMPRESSED],
        special_symbols=specials,
        padding=symbols[PADDING],
        epochs=_epochs(plan, block, step),
    )


def _per_format(spans: NDArray[np.void], values: NDArray[np.int32]) -> list[int]:
    return [int(values[spans["format"] == form].sum()) for form in (RAW, COMPRESSED, PADDING)]


def _count(marks: NDArray[np.uint8], bit: int) -> int:
    return int((marks & bit != 0).sum())


def _epochs(plan: Plan, block: PlannedBlock, step: int) -> list[float]:
    packed = (step + 1) * plan.contexts_per_step - block.first_context
    spans = block.spans[: block.first_span[packed]]
    epochs = []
    for source, before in enumerate(block.taken_before):
        draws = spans["draw"][spans["source"] == source]
        taken = max(int(before), int(draws.max(initial=-1)) + 1)
        epochs.append(taken / max(len(plan.tables.documents_of(source)), 1))
    return epochs
