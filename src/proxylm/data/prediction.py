"""How many documents a packed context really holds: appendix A with specials, cuts and padding.

The model knows two numbers of the data, the mean length and the compressor's rate, and assumes
that a document finds any room in its context equally often. A document then takes its own length,
its special symbols, and what each context's end costs it: ``<bos>`` and a sentinel again, or, for
pairs that are split, a whole new part and the padding before it.

Where documents are truncated, how many fit depends on all lengths: they are taken as exponential
around their mean, and the plan of contexts of such documents is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import ANCHOR_SPACING
from proxylm.data.lengths import LENGTHS_VIEW, exponential_lengths, lengths_store
from proxylm.data.mixture import Mixture
from proxylm.data.mixture_numbers import MixtureNumbers, mixture_numbers
from proxylm.data.packing.plan import Plan
from proxylm.data.packing.spans import MINIMUM_CONTENT, STARTS_DOCUMENT
from proxylm.data.packing.tables import source_tables
from proxylm.data.rates import view_shares

COUNTED_DOCUMENTS = 50_000
COUNTED_CONTEXTS = 20_000
"""What is drawn from and counted where documents are truncated: half a percent of noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSize:
    """The data as the prediction knows it: mean bytes per document, bytes per symbol."""

    mean_bytes: float
    rho: float

    @property
    def mean_symbols(self) -> float:
        """Mean length of a document's compressed view."""
        return self.mean_bytes / self.rho


def documents_per_context(
    data: DataSize, mixture: Mixture, *, context: int, total_steps: int
) -> NDArray[np.float64]:
    """Documents begun per context, at every step: float64 ``[total_steps]``.

    Raises:
        UsageError: an object of the mixture gives numbers that cannot be.
    """
    if mixture.truncates:
        return _counted(data, mixture, context, total_steps)
    numbers = mixture_numbers(mixture, total_steps)
    if numbers.piece_symbols is not None:
        sizes = _size_in_pieces(data, mixture, numbers.rates, numbers.piece_symbols, context)
        return context / sizes
    shares = view_shares(numbers.rates, numbers.has_pairs)
    raw = _size_of_view(data.mean_bytes, mixture, context)
    compressed = _size_of_view(data.mean_symbols, mixture, context)
    pair = _size_of_pair(data, mixture, numbers, context)
    return context / (shares.raw * raw + shares.compressed * compressed + shares.pair * pair)


def _counted(
    data: DataSize, mixture: Mixture, context: int, total_steps: int
) -> NDArray[np.float64]:
    """The same out of a plan, over documents of exponential lengths of that mean."""
    lengths = exponential_lengths(data.mean_bytes, COUNTED_DOCUMENTS)
    contexts_per_step = -(-COUNTED_CONTEXTS // total_steps)
    store = lengths_store(lengths, rho=data.rho)
    plan = Plan(
        source_tables([(store, store.view(LENGTHS_VIEW))]),
        mixture,
        [1.0],
        context=context,
        contexts_per_step=contexts_per_step,
        total_steps=total_steps,
        seed=0,
    )
    begun = np.zeros(total_steps)
    step = 0
    while step < total_steps:
        block = plan.block_of(step)
        starts = block.spans[block.spans["marks"] & STARTS_DOCUMENT != 0]
        at = (starts["context"] // contexts_per_step).astype(np.int64)
        begun += np.bincount(at, minlength=total_steps)
        step += block.num_steps
    return begun / contexts_per_step


def _size_of_view(length: float, mixture: Mixture, context: int) -> float:
    """Symbols that a document takes in one view, context ends included."""
    closing = 1 + mixture.sentinels
    own = length + 2 * closing
    return own + _cost_of_ends(own, closing, mixture, context)


def _cost_of_ends(own: float, closing: int, mixture: Mixture, context: int) -> float:
    """What contexts' ends add to a sample of ``own`` symbols, the last ``closing`` only closing.

    The room at its start is 0 … context - 1, equally often.
    """
    if not mixture.rewraps:
        return 0.0
    again = 1 + mixture.sentinels  # <bos> and the sentinel
    start_room = again + MINIMUM_CONTENT
    room = np.arange(context, dtype=np.float64)
    waits = room < start_room
    # In the first context it takes the room, in each further one it first repeats ``again``.
    left = own - np.where(waits, 0.0, room)
    further = np.ceil(
        np.maximum(left - closing - np.where(waits, context, 0), 0) / (context - again)
    )
    saved = np.where((left > 0) & (left <= closing) & ~waits, left, 0.0)
    return float((np.where(waits, room, 0.0) + again * further - saved).mean())


def _size_of_pair(data: DataSize, mixture: Mixture, numbers: MixtureNumbers, context: int) -> float:
    sentinels = 4 * mixture.sentinels
    content = data.mean_bytes + data.mean_symbols
    if not numbers.splits_pairs:
        own = content + 2 + sentinels
        return own + _cost_of_ends(own, 1 + mixture.sentinels, mixture, context)
    wrap = 1.0 + sentinels
    gap = min(ANCHOR_SPACING * (1.0 + data.rho), context - wrap)
    room = np.arange(context, dtype=np.float64)
    fits = np.floor(np.maximum(room - wrap, 0) / gap) * gap
    is_whole = content + wrap + 1 <= room
    # A part that does not fit waits for the next context; one that does is a part of its own.
    first_cost = np.where(is_whole, 0.0, np.where(fits > 0, room - fits, room))
    left = np.where(is_whole, 0.0, content - fits)
    per_context = np.floor((context - wrap) / gap) * gap
    further = np.ceil(np.maximum(left + wrap + 1 - context, 0) / per_context)
    cost = first_cost + further * (context - per_context)
    return float(content + wrap + 1 + cost.mean())


def _size_in_pieces(
    data: DataSize,
    mixture: Mixture,
    rates: NDArray[np.float64],
    piece_symbols: tuple[int, int],
    context: int,
) -> NDArray[np.float64]:
    least, most = piece_symbols
    drawn = np.arange(least, most + 1)
    gaps = np.maximum(np.ceil(drawn / ANCHOR_SPACING - 0.5), 1)
    pieces = max(data.mean_symbols / (gaps.mean() * ANCHOR_SPACING), 1.0)
    stretches = 1.0 + (pieces - 1.0) * 2.0 * rates * (1.0 - rates)
    content = rates * data.mean_symbols + (1.0 - rates) * data.mean_bytes
    own = content + 2.0 + 2 * mixture.sentinels * stretches
    closing = 1 + mixture.sentinels
    known: dict[float, float] = {}
    for size in own:
        if size not in known:
            known[size] = size + _cost_of_ends(size, closing, mixture, context)
    return np.array([known[size] for size in own])
