"""What cannot be mixed, refused in one line before any training starts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proxylm.compressors.contract import ANCHOR_SPACING
from proxylm.data.mixture import DocumentGranularity, MixingConfig, PieceGranularity, SourceConfig
from proxylm.data.packing.tables import SourceTables, ViewLike
from proxylm.data.store.store import StoredView
from proxylm.errors import DataError, UsageError

MINIMUM_CONTEXT = 16
"""Symbols; less holds no pair with its special symbols and some content."""

_NEVER_CUT_SYMBOLS = 2 * ANCHOR_SPACING
"""A view with anchors has one in every document longer than this."""


def check_views(
    sources: Sequence[SourceConfig],
    views: Sequence[StoredView | None],
    mixing: MixingConfig,
    total_steps: int,
) -> None:
    """All sources have the views that the mixture shows, by one compressor."""
    shows_compressed = bool((mixing.rate.rates(total_steps) > 0).any())
    known: tuple[SourceConfig, StoredView] | None = None
    for source, view in zip(sources, views, strict=True):
        if view is None:
            if shows_compressed or isinstance(mixing.granularity, PieceGranularity):
                raise UsageError(
                    f"data: {source.store}: no view is named, but mixing.rate shows compressed "
                    "views; set 'view', or mixing.rate to constant 0 for bytes only"
                )
            continue
        if known is not None:
            _check_same_compressor(*known, source, view)
        known = known or (source, view)


def _check_same_compressor(
    first: SourceConfig, first_view: StoredView, second: SourceConfig, second_view: StoredView
) -> None:
    for what, ours, theirs in (
        ("symbol counts", first_view.symbol_count, second_view.symbol_count),
        (
            "compressor fingerprints",
            first_view.compressor_fingerprint,
            second_view.compressor_fingerprint,
        ),
    ):
        if ours != theirs:
            raise DataError(
                f"data: all views of a mixture must come from one compressor; {what} differ: "
                f"{first.store} view '{first_view.name}' has {ours}, "
                f"{second.store} view '{second_view.name}' has {theirs}"
            )


def check_pair_cuts(
    sources: Sequence[SourceConfig],
    views: Sequence[ViewLike | None],
    mixing: MixingConfig,
    total_steps: int,
) -> None:
    """Pairs can only be split where the view has anchors."""
    granularity = mixing.granularity
    if not isinstance(granularity, DocumentGranularity) or not granularity.splits_pairs:
        return
    if mixing.steps_with_pairs(total_steps) == 0:
        return
    for source, view in zip(sources, views, strict=True):
        if view is None or any(len(column.values) for column in view.anchor_columns):
            continue
        if view.symbol_lengths.max(initial=0) > _NEVER_CUT_SYMBOLS:
            raise UsageError(
                f"data: {source.store} view '{source.view}' cannot be cut inside a document (it "
                "has no anchors): set mixing.granularity.pair_overflow to cut, or pairing to none"
            )


def check_data(sources: Sequence[SourceConfig], tables: SourceTables, context: int) -> None:
    """There are training documents, and enough of them for one context."""
    if context < MINIMUM_CONTEXT:
        raise UsageError(f"context {context} is too short; use at least {MINIMUM_CONTEXT} symbols")
    longest_view = 0
    for index, source in enumerate(sources):
        documents = tables.documents_of(index)
        if source.weight > 0 and len(documents) == 0:
            raise DataError(
                f"data: {source.store}: no document is left for training (empty, or all held out)"
            )
        lengths = np.maximum(documents["num_bytes"], documents["num_symbols"])
        longest_view += int(lengths.sum())
    if context > longest_view:
        raise UsageError(
            f"context {context} is longer than the training data ({longest_view} symbols); "
            "use a shorter context or more documents"
        )
