"""What cannot be mixed, refused in one line before any training starts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proxylm.compressors.contract import ANCHOR_SPACING
from proxylm.data.mixture_numbers import MixtureNumbers
from proxylm.data.sources import OpenSource
from proxylm.data.store.column import Column
from proxylm.errors import DataError, UsageError

MINIMUM_CONTEXT = 16
"""Symbols; less holds no pair with its special symbols and some content."""

_NEVER_CUT_SYMBOLS = 2 * ANCHOR_SPACING
"""A view with anchors has one in every document longer than this."""


def check_one_compressor(sources: Sequence[OpenSource]) -> None:
    """All views come from one compressor: their symbols share one vocabulary.

    Raises:
        DataError: two differ; both are shown.
    """
    shown = [(source, source.view) for source in sources if source.view is not None]
    for what in ("symbol_count", "compressor_fingerprint"):
        has = [getattr(view, what) for _, view in shown]
        for (source, _), value in zip(shown, has, strict=True):
            if value != has[0]:
                first = shown[0][0]
                raise DataError(
                    "data: all views of a mixture must come from one compressor; "
                    f"{what.replace('_', ' ')}s differ: {first.name} view '{first.view_name}' has "
                    f"{has[0]}, {source.name} view '{source.view_name}' has {value}"
                )


def check_pair_cuts(sources: Sequence[OpenSource], numbers: MixtureNumbers) -> None:
    """Pairs can only be split where the view has anchors.

    Raises:
        UsageError: a view has none.
    """
    if not numbers.splits_pairs or numbers.steps_with_pairs == 0:
        return
    for source in sources:
        view = source.view
        if view is None or any(len(column.values) for column in view.anchor_columns):
            continue
        if view.symbol_lengths.max(initial=0) > _NEVER_CUT_SYMBOLS:
            raise UsageError(
                f"data: {source.name} view '{source.view_name}' cannot be cut inside a document "
                "(it has no anchors): set mixing.granularity.pair_overflow to cut, or pairing to "
                "none"
            )


def check_columns(sources: Sequence[OpenSource]) -> None:
    """Columns hold what kernels read at their addresses: a store may be an object of the user's.

    Raises:
        DataError: one is of another type.
    """
    for source in sources:
        view = source.view
        columns: list[tuple[str, Column, tuple[type, ...]]]
        columns = [("raw bytes", column, (np.uint8,)) for column in source.store.raw_columns]
        if view is not None:
            columns += [("symbols", column, (np.uint16, np.uint32)) for column in view.columns]
            columns += [("anchors", column, (np.uint32,)) for column in view.anchor_columns]
        for what, column, types in columns:
            if column.values.dtype not in types:
                known = " or ".join(one.__name__ for one in types)
                raise DataError(
                    f"data: {source.name}: {what} are {column.values.dtype}, not {known}"
                )


def check_data(sources: Sequence[OpenSource], context: int) -> None:
    """There are training documents, and enough of them for one context.

    Raises:
        UsageError: the context is too short, or longer than all documents together.
        DataError: a source has no document for training.
    """
    if context < MINIMUM_CONTEXT:
        raise UsageError(f"context {context} is too short; use at least {MINIMUM_CONTEXT} symbols")
    longest_view = 0
    for source in sources:
        is_training = ~source.store.held_out
        if source.weight > 0 and not is_training.any():
            raise DataError(
                f"data: {source.name}: no document is left for training (empty, or all held out)"
            )
        lengths = source.store.raw_lengths[is_training]
        if source.view is not None:
            lengths = np.maximum(lengths, source.view.symbol_lengths[is_training])
        longest_view += int(lengths.sum())
    if context > longest_view:
        raise UsageError(
            f"context {context} is longer than the training data ({longest_view} symbols); "
            "use a shorter context or more documents"
        )
