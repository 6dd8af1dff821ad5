"""Held-out bits per byte on the way: the same documents for every run on the same stores.

Documents come from the stores' held-out part, with the symbols stored there, and are read in the
formats that the mixture shows: as bytes, and as compressed symbols where the view is reversible.
The number is total bits over total raw bytes (method, section 9).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proxylm.data.store.contents import View
from proxylm.data.store.store import ViewStore
from proxylm.models.language_model import LanguageModel
from proxylm.ranks import ALONE, Ranks
from proxylm.scoring.passes import content_bits
from proxylm.symbols import Format
from proxylm.training.callbacks import Added, Callback, Record
from proxylm.training.config import HeldOutConfig, TrainingConfig
from proxylm.training.device import Place
from proxylm.training.sharding import root_gathered

if TYPE_CHECKING:
    from proxylm.training.training_run import TrainingRun

logger = logging.getLogger(__name__)

Content = NDArray[np.integer]
"""Symbols of one document ``[m]``: bytes, or a view's symbols, without their format's offset."""

SELECTION_SEED = 0
"""Of the order in which held-out documents are taken; fixed, so that runs can be compared."""


@dataclass(frozen=True, kw_only=True)
class HeldOutDocuments(Callback):
    """Documents that are read on the way, and how.

    Attributes:
        raw_bytes: of the documents together; what bits are divided by.
        contents: per format that the model is read in, the symbols of every document.
    """

    config: HeldOutConfig
    raw_bytes: int = 0
    contents: dict[Format, list[Content]] = field(default_factory=dict)

    def bits_per_byte(
        self, model: LanguageModel, place: Place, ranks: Ranks = ALONE
    ) -> dict[str, float]:
        """Total bits ÷ total raw bytes by name of the format; empty without documents.

        Ranks share the passes.
        """
        context = model.config.context
        stride = max(1, int(context * self.config.stride_fraction) - 1)
        gathered = nullcontext() if ranks.is_alone else root_gathered(model)
        with place.precision(), gathered:
            bits = [
                float(
                    content_bits(model, symbols, content_format, stride=stride, ranks=ranks).sum()
                )
                for content_format, symbols in self.contents.items()
            ]
        names = (content_format.name.lower() for content_format in self.contents)
        totals = zip(names, ranks.sum(bits), strict=True)
        return {name: total / self.raw_bytes for name, total in totals}

    def on_step(self, run: TrainingRun, record: Record) -> Added:
        """Read them regularly, and at the end."""
        if not self.contents or not run.is_due(self.config.every_steps):
            return None
        bits = self.bits_per_byte(run.model, run.inputs.place, run.ranks)
        run.state = run.state.model_copy(update={"held_out": bits})
        return {"held_out": bits}


def choose_held_out(config: TrainingConfig) -> HeldOutDocuments | None:
    """The held-out documents of a run's sources; None if the run asks for none."""
    if config.held_out is None:
        return None
    stores = [ViewStore.open(Path(source.store)) for source in config.data]
    views = [
        None if source.view is None else store.view(source.view)
        for store, source in zip(stores, config.data, strict=True)
    ]
    formats = _formats_read(config, views)
    contents: dict[Format, list[Content]] = {content_format: [] for content_format in formats}
    raw_bytes = 0
    for store, view in zip(stores, views, strict=True):
        read = {Format.RAW: store.raw} | ({Format.COMPRESSED: view.symbols} if view else {})
        for ordinal in _chosen(store, config.held_out.max_bytes // len(stores)):
            raw_bytes += int(store.raw_lengths[ordinal])
            for content_format in formats:
                contents[content_format].append(read[content_format](ordinal))
    if not raw_bytes:
        logger.warning("the sources hold no held-out documents: bits per byte are not measured")
        contents = {}
    return HeldOutDocuments(config=config.held_out, raw_bytes=raw_bytes, contents=contents)


def _formats_read(config: TrainingConfig, views: Sequence[View | None]) -> list[Format]:
    """Formats that the mixture shows and whose symbols determine the bytes."""
    rates = config.mixing.rate.rates(config.total_steps)
    formats = [Format.RAW] if rates.min() < 1 else []
    if rates.max() > 0 and all(view is not None and view.reversible for view in views):
        formats.append(Format.COMPRESSED)
    return formats


def _chosen(store: ViewStore, max_bytes: int) -> Iterator[int]:
    """Ordinals in a fixed random order until ``max_bytes`` is reached, at least one."""
    ordinals: NDArray[np.int64] = store.ordinals(held_out=True)
    taken = 0
    for ordinal in np.random.default_rng(SELECTION_SEED).permutation(ordinals):
        num_bytes = int(store.raw_lengths[ordinal])
        if taken and taken + num_bytes > max_bytes:
            return
        taken += num_bytes
        yield int(ordinal)
