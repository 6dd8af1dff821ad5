"""What a run shows of its data, counted on a small draft of it: contexts planned, none filled.

The draft has the run's steps, schedule and context length, but few contexts a step. A store that
is not there yet is taken as documents of exponential lengths, all with the same rate. No source of
the draft ends: where ``when_exhausted: stop`` would end the run, its epochs are over 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from proxylm.config import Config
from proxylm.data.batches import Batches, batches
from proxylm.data.lengths import LENGTHS_VIEW, exponential_lengths, lengths_store
from proxylm.data.mixture_numbers import mixture_numbers
from proxylm.data.packing.plan import PlannedBlock
from proxylm.data.packing.spans import COMPRESSED, PADDING, RAW, STARTS_DOCUMENT
from proxylm.data.sources import Source, SourceConfig
from proxylm.data.store.manifest import MANIFEST_NAME
from proxylm.data.store.store import ViewStore
from proxylm.errors import UsageError
from proxylm.training.config import TrainingConfig

DRAFT_CONTEXTS = 20_000
DRAFT_DOCUMENTS = 50_000
"""What is counted, and drawn from where a store is not there: half a percent of noise."""
LAYOUTS = 64
"""Contexts whose documents are looked at for the attention that they need."""

KNOWN_VIEWS = {"tokenizer": (96_640, 3.7), "neural": (65_536, 3.1)}
"""Symbols and bytes per symbol of the paper's two compressors (§2.2, B.2), by their views' names
in the shipped configurations."""


class DataAssumptions(Config):
    """What a plan takes for granted of stores that are not there yet.

    Attributes:
        rho: bytes per symbol of a view whose store is not there yet; of views called tokenizer
            and neural the paper's, unless given.
        symbol_count: symbols of the compressor of such a view; of the same two the paper's.
        mean_bytes: bytes of a document in a store that is not there yet, on average.
        data_bytes: bytes of all documents in such a store; as many as the run shows, unless given.
    """

    rho: PositiveFloat | None = None
    symbol_count: PositiveInt | None = None
    mean_bytes: PositiveInt = 5000
    data_bytes: PositiveInt | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedSource:
    """One source of a run.

    Attributes:
        name: its store, as the configuration names it.
        view: the view that is shown; None for bytes alone.
        store: the open store; None where there is none yet.
        symbol_count: compressed symbols of the view; 0 without one.
        rho: bytes per symbol of the view; None without one.
        raw_bytes: bytes of its training documents; None where nobody said.
    """

    name: str
    view: str | None
    store: ViewStore | None
    symbol_count: int
    rho: float | None
    raw_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a whole run shows of one source.

    Attributes:
        source: of what.
        documents: documents begun.
        raw_bytes: bytes of them, in whatever view; a pair's once.
        epochs: how often that is all of it; None where its size is not known.
    """

    source: PlannedSource
    documents: int
    raw_bytes: int
    epochs: float | None


@dataclass(frozen=True, kw_only=True)
class DataUse:
    """What a whole run shows.

    Attributes:
        sources: by source.
        raw_symbols, compressed_symbols, special_symbols, padding: of all the symbols that its
            contexts hold.
        layouts: int32 ``[LAYOUTS, N]``, attention segments of contexts from all of the run.
        symbol_count: compressed symbols in the model's vocabulary.
    """

    sources: list[Shown]
    raw_symbols: int
    compressed_symbols: int
    special_symbols: int
    padding: int
    layouts: NDArray[np.int32]
    symbol_count: int

    @property
    def raw_bytes(self) -> int:
        """Bytes of all that is shown."""
        return sum(shown.raw_bytes for shown in self.sources)


def data_use(config: TrainingConfig, assumptions: DataAssumptions) -> DataUse:
    """Count what a run shows.

    Raises:
        UsageError: a store is not there, and nothing is known of its view.
        DataError: a store that is there cannot be used.
    """
    sources = [_planned_source(config, source, assumptions) for source in config.data]
    draft = _draft(config, sources, assumptions)
    factor = config.contexts_per_step * config.total_steps / draft.contexts_per_step / draft.steps
    counts, layouts = _counted(draft)
    documents, raw_bytes = (factor * counts[:, : len(sources)]).round().astype(np.int64)[:2]
    raw, compressed, padding = (factor * counts[2, :3]).round().astype(np.int64).tolist()
    return DataUse(
        sources=[
            Shown(
                source=source,
                documents=int(begun),
                raw_bytes=int(shown),
                epochs=None if source.raw_bytes is None else int(shown) / source.raw_bytes,
            )
            for source, begun, shown in zip(sources, documents, raw_bytes, strict=True)
        ],
        raw_symbols=raw,
        compressed_symbols=compressed,
        special_symbols=config.symbols_per_step * config.total_steps - raw - compressed - padding,
        padding=padding,
        layouts=layouts,
        symbol_count=max((source.symbol_count for source in sources), default=0),
    )


def _planned_source(
    config: TrainingConfig, source: SourceConfig, assumptions: DataAssumptions
) -> PlannedSource:
    shows = mixture_numbers(config.mixing, config.total_steps).needs_compressed
    view = source.view if shows else None
    if (Path(source.store) / MANIFEST_NAME).is_file():
        return _source_of_store(source.store, view, ViewStore.open(Path(source.store)))
    symbol_count, rho = (
        (0, None) if view is None else _assumed_view(source.store, view, assumptions)
    )
    return PlannedSource(
        name=source.store,
        view=view,
        store=None,
        symbol_count=symbol_count,
        rho=rho,
        raw_bytes=assumptions.data_bytes,
    )


def _source_of_store(name: str, view: str | None, store: ViewStore) -> PlannedSource:
    lengths = store.raw_lengths[~store.held_out]
    symbol_count, rho = 0, None
    if view is not None:
        shown = store.view(view)
        symbol_count = shown.symbol_count
        symbols = int(shown.symbol_lengths[~store.held_out].sum())
        rho = int(lengths.sum()) / max(symbols, 1)
    return PlannedSource(
        name=name,
        view=view,
        store=store,
        symbol_count=symbol_count,
        rho=rho,
        raw_bytes=int(lengths.sum()),
    )


def _assumed_view(store: str, view: str, assumptions: DataAssumptions) -> tuple[int, float]:
    count, rho = KNOWN_VIEWS.get(view, (None, None))
    count, rho = assumptions.symbol_count or count, assumptions.rho or rho
    if count is None or rho is None:
        raise UsageError(
            f"{store}: there is no such store yet, and nothing is known of its view '{view}'; "
            "give --rho (bytes per symbol) and --symbol-count"
        )
    return count, rho


def _draft(
    config: TrainingConfig, sources: list[PlannedSource], assumptions: DataAssumptions
) -> Batches:
    lengths = exponential_lengths(assumptions.mean_bytes, DRAFT_DOCUMENTS)
    drawn = []
    for source, given in zip(sources, config.data, strict=True):
        if source.store is not None:
            drawn.append(Source(source.store, source.view, given.weight))
            continue
        store = lengths_store(lengths, rho=source.rho or 1.0)
        drawn.append(Source(store, LENGTHS_VIEW if source.view else None, given.weight))
    return batches(
        drawn,
        config.mixing.model_copy(update={"when_exhausted": "repeat"}),
        context=config.context,
        contexts_per_step=-(-DRAFT_CONTEXTS // config.total_steps),
        steps=config.total_steps,
        seed=config.seed,
    )


def _counted(draft: Batches) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """The counts of ``_counts`` over all blocks of a draft, and layouts of some contexts."""
    counts = np.zeros((3, max(len(draft.sources), 3)))
    rows, step = [], 0
    looked_at = np.linspace(0, draft.steps - 1, LAYOUTS).astype(int)
    while step < draft.steps:
        block = draft.plan.block_of(step)
        counts += _counts(block, len(draft.sources))
        first, step = step, step + block.num_steps
        here = looked_at[(looked_at >= first) & (looked_at < step)].tolist()
        rows += [_layout(draft, block, one) for one in here]
    return counts, np.stack(rows)


def _counts(block: PlannedBlock, sources: int) -> NDArray[np.float64]:
    """Rows: documents begun by source; raw bytes by source; raw, compressed symbols, padding."""
    spans = block.spans
    counts = np.zeros((3, max(sources, 3)))
    begins = spans["marks"] & STARTS_DOCUMENT != 0
    counts[0, :sources] = np.bincount(spans["source"][begins], minlength=sources)
    counts[1, :sources] = np.bincount(
        spans["source"], weights=spans["num_bytes"], minlength=sources
    )
    for place, form in enumerate((RAW, COMPRESSED, PADDING)):
        counts[2, place] = spans["length"][spans["format"] == form].sum()
    return counts


def _layout(draft: Batches, block: PlannedBlock, step: int) -> NDArray[np.int32]:
    """Attention segments of the first context of a step, ``[N]``."""
    spans = block.spans_of(int(block.contexts_of(step)[0]))
    sizes = np.diff(spans["offset"], append=draft.context)
    layout = np.repeat(spans["segment"], sizes)
    return np.zeros_like(layout) if draft.mixture.cross_document_attention else layout
