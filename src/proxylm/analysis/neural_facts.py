"""What a neural compressor does: rate, bits per byte, bytes per symbol, collisions, strings.

Its *static* facts follow from the automaton alone. The rest is observed on documents that stream
past, in memory that does not grow with them (``collisions.SegmentCollisions``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from proxylm.analysis.collisions import SegmentCollisions, coded_segments, window_collisions
from proxylm.compressors.contract import CompressedView
from proxylm.compressors.neural.coder.automaton import ROOT, Automaton
from proxylm.compressors.neural.compressor import NeuralCompressor
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.boundary_pass import BoundaryPass
from proxylm.compressors.neural.segmentation.entropy import EntropySegmentation
from proxylm.errors import UsageError

SYMBOL_BYTES = np.dtype(np.uint32).itemsize


def automaton_facts(automaton: Automaton | None) -> dict[str, Any]:
    """Nodes, codes in use, and collisions of windows; nothing where windows do not enumerate."""
    if automaton is None:
        return {}
    return {
        "nodes": len(automaton),
        "distinct_codes": len(automaton.nodes_by_code),
        "collisions": window_collisions(automaton).figures(),
    }


class CorpusObserver:
    """Facts about documents and their views, which are shown to it batch by batch."""

    def __init__(self, compressor: NeuralCompressor) -> None:
        self.segments = SegmentCollisions()
        self._lm_pass = BoundaryPass(compressor.lm, overlap=_overlap(compressor))
        self._automaton = compressor.automaton
        self._num_bytes = 0
        self._bits = 0.0
        self._num_segments = 0
        self._symbols_by_bytes: Counter[int] = Counter()

    def add(self, documents: Sequence[bytes], views: Sequence[CompressedView]) -> None:
        """Observe some documents and what the compressor made of them."""
        scores = self._lm_pass.scores(FlatDocuments.of(documents))
        self._bits += float(scores.sum(dtype=np.float64))
        for raw, view in zip(documents, views, strict=True):
            self._num_bytes += len(raw)
            self.segments.add(raw, view)
            for num_bytes, num_symbols in self._coded_units(raw, view):
                self._symbols_by_bytes[num_bytes // num_symbols] += num_symbols

    def facts(self) -> dict[str, Any]:
        """What was observed; the histogram's keys are whole bytes per symbol."""
        histogram = sorted(self._symbols_by_bytes.items())
        return {
            "bits_per_byte": self._bits / self._num_bytes if self._num_bytes else None,
            "segments": self._num_segments,
            "bytes_per_segment": self._num_bytes / max(1, self._num_segments),
            "bytes_per_symbol_histogram": {str(size): count for size, count in histogram},
            "collisions": self.segments.report().figures(),
        }

    def _coded_units(self, raw: bytes, view: CompressedView) -> Iterator[tuple[int, int]]:
        """Bytes and symbols of every window, or of every segment where there is no automaton."""
        for symbols, string in coded_segments(raw, view):
            self._num_segments += 1
            num_symbols = len(symbols) // SYMBOL_BYTES
            if self._automaton is None:
                yield len(string), num_symbols
                continue
            nodes = window_nodes(self._automaton, string)
            for node in nodes:
                yield len(self._automaton.strings[node]), num_symbols // len(nodes)


def window_nodes(automaton: Automaton, segment: bytes) -> list[int]:
    """The nodes of a segment's windows, one after the other, by a plain walk along the edges."""
    nodes = [ROOT]
    for byte in segment:
        child = automaton.children.get((nodes[-1], byte))
        if child is None:
            nodes.append(automaton.children[ROOT, byte])
        else:
            nodes[-1] = child
    return nodes


def strings_behind(
    compressor: NeuralCompressor, symbol: int, observed: CorpusObserver | None, *, shown: int
) -> dict[str, Any]:
    """The strings whose codes have a symbol: windows, or else segments observed on a corpus.

    Args:
        compressor: with an automaton, unless there is ``observed``.
        symbol: below ``symbol_count``.
        observed: a corpus.
        shown: how many strings are listed, the most probable first.

    Raises:
        UsageError: no such symbol, or nothing tells the strings behind it.
    """
    if not 0 <= symbol < compressor.symbol_count:
        last = compressor.symbol_count - 1
        raise UsageError(f"--symbol {symbol}: this compressor's symbols are 0 to {last}")
    if compressor.automaton is not None:
        kind, found = "windows", windows_with(compressor.automaton, symbol)
    elif observed is not None:
        kind, found = "segments", observed.segments.containing(symbol)
    else:
        raise UsageError(
            "--symbol: the windows of this compressor are not enumerated; give a --corpus whose "
            "segments are looked through"
        )
    listed = [
        {"string": repr(string), "symbols": list(symbols)}
        for string, symbols in islice(found, shown)
    ]
    count = len(listed) + sum(1 for _ in found)
    return {"symbol": symbol, "of": kind, "count": count, "strings": listed}


def windows_with(automaton: Automaton, symbol: int) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    """The windows whose code has a symbol, each with all symbols of it; the most probable first."""
    pack_bits = automaton.settings.pack_bits
    mask = automaton.settings.symbol_count - 1
    shifts = range(0, automaton.window_bits, pack_bits)
    has_symbol = np.any([(automaton.codes >> shift & mask) == symbol for shift in shifts], axis=0)
    for node in np.flatnonzero(has_symbol).tolist():
        if node != ROOT:
            code = int(automaton.codes[node])
            yield automaton.strings[node], tuple(automaton.code_symbols(code))


def _overlap(compressor: NeuralCompressor) -> int:
    """Of the windows in which bits per byte are read: the boundary pass's own."""
    rule = compressor.segmentation
    return (rule if isinstance(rule, EntropySegmentation) else EntropySegmentation()).overlap
