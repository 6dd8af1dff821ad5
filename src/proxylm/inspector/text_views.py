"""A text as every compressor's symbols: spans, rates, what an edit changes, what collides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from proxylm.analysis.changes import deletion_distances, edit_change
from proxylm.analysis.collisions import Cluster
from proxylm.analysis.neural_facts import window_nodes, windows_with
from proxylm.analysis.stability import document_slices
from proxylm.compressors.contract import Compressor
from proxylm.compressors.neural.coder.automaton import Automaton
from proxylm.compressors.neural.compressor import NeuralCompressor
from proxylm.compressors.segments import segments
from proxylm.errors import ProxylmError, UsageError

SHOWN_STRINGS = 12
SWEPT_BYTES = 512
"""Of a text whose characters are deleted one by one: each of them is compressed anew."""


def text_views(
    compressors: Mapping[str, Compressor], text: bytes, reference: bytes | None = None
) -> list[dict[str, Any]]:
    """The text in every compressor's view.

    Args:
        compressors: by name.
        text: its bytes.
        reference: what the text was before it was edited; None: nothing is compared.

    Returns:
        For each, ``name`` and either ``error`` or ``starts`` (of the spans, in bytes), ``counts``
        (symbols of each), ``symbols``, ``bytes_per_symbol`` (None of an empty text) and, with a
        reference, ``change``: ``distance``, ``kept`` (by symbol), ``lost``.
    """
    return [
        {"name": name, **_view_or_error(compressor, text, reference)}
        for name, compressor in compressors.items()
    ]


def deletions(compressors: Mapping[str, Compressor], text: bytes, place: int) -> dict[str, Any]:
    """How far each view moves when one character is deleted, along a stretch of the text.

    Args:
        compressors: by name.
        text: its bytes.
        place: a byte that the stretch should hold.

    Returns:
        ``starts``, of the characters in bytes of the text, and for each compressor its distances,
        None where it has no exact form.

    Raises:
        UsageError: rapidfuzz is not there, or the text is empty.
        DataError: a compressor errs.
    """
    if not text:
        raise UsageError("there is no character to delete in an empty text")
    before, piece = _slice_at(text, place)
    curves = []
    for name, compressor in compressors.items():
        starts, distances = deletion_distances(compressor, piece)
        found = [None if np.isnan(one) else one for one in distances.tolist()]
        curves.append({"name": name, "distances": found})
    return {"starts": (starts + before).tolist(), "curves": curves}


def collisions(compressor: Compressor, segment: bytes) -> dict[str, Any]:
    """The strings that a neural compressor cannot tell from a segment's windows.

    Args:
        compressor: any.
        segment: one of its segments.

    Returns:
        ``windows``: of each its bytes, its symbols, and the strings with the same code; None where
        the compressor has no windows that can be enumerated.
    """
    if not isinstance(compressor, NeuralCompressor) or compressor.automaton is None:
        return {"windows": None}
    return {"windows": list(colliding_windows(compressor.automaton, segment))}


def colliding_windows(automaton: Automaton, segment: bytes) -> Iterator[dict[str, Any]]:
    """A segment's windows, each with the strings that share its code.

    Returns:
        ``string``, ``symbols``, ``count`` of the strings, the first of ``strings``, their
        ``lcp_ratio``; and ``behind``: where a code has several symbols, the strings of each symbol.
    """
    for own in window_nodes(automaton, segment):
        code = int(automaton.codes[own])
        strings = [automaton.strings[node] for node in automaton.nodes_by_code[code]]
        symbols = automaton.code_symbols(code)
        yield {
            "string": automaton.strings[own],
            "symbols": symbols,
            "count": len(strings),
            "strings": strings[:SHOWN_STRINGS],
            "lcp_ratio": Cluster(symbols=tuple(symbols), strings=tuple(strings)).lcp_ratio,
            # Where a window is one symbol, these are the same strings.
            "behind": [_behind(automaton, one) for one in symbols] if len(symbols) > 1 else [],
        }


def _view_or_error(compressor: Compressor, text: bytes, reference: bytes | None) -> dict[str, Any]:
    try:
        return _view(compressor, text) | _change(compressor, text, reference)
    except ProxylmError as error:
        return {"error": str(error)}


def _view(compressor: Compressor, text: bytes) -> dict[str, Any]:
    found = segments(compressor, text)
    symbols = np.concatenate(found.symbols) if found.symbols else np.empty(0, dtype=np.uint32)
    return {
        "starts": found.spans[:, 0].tolist(),
        "counts": list(map(len, found.symbols)),
        "symbols": symbols.tolist(),
        "bytes_per_symbol": found.bytes_per_symbol if len(symbols) else None,
    }


def _change(compressor: Compressor, text: bytes, reference: bytes | None) -> dict[str, Any]:
    if reference is None:
        return {}
    change = edit_change(compressor, reference, text)
    kept = change.kept.tolist()
    return {"change": {"distance": change.distance, "kept": kept, "lost": change.lost}}


def _slice_at(text: bytes, place: int) -> tuple[int, bytes]:
    """The slice of a text that holds a byte, and how many bytes come before it."""
    before = 0
    for piece in document_slices(text, SWEPT_BYTES):
        if place < before + len(piece):
            break
        before += len(piece)
    else:
        before -= len(piece)
    return before, piece


def _behind(automaton: Automaton, symbol: int) -> dict[str, Any]:
    """The windows whose code has a symbol among others."""
    found = windows_with(automaton, symbol)
    strings = [string for string, _ in islice(found, SHOWN_STRINGS)]
    return {"symbol": symbol, "count": len(strings) + sum(1 for _ in found), "strings": strings}
