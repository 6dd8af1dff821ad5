"""Collisions: different byte strings that a neural compressor writes alike (§3.4, D.3).

Two kinds of strings are grouped. *Windows* come from the automaton, which holds every string that
fits in one, so their clusters are complete. *Segments* are what the paper counts: strings met in
a corpus whose whole symbol sequences are equal. How alike the variants of a cluster are is told by
their LCP ratio: the length of the prefix common to all of them over their mean length. Standard
deviations are those of a population: of a cluster's lengths, and of figures over all clusters.

A corpus may hold any number of different segments. Within a limit on memory all of them are kept;
beyond it only those whose symbols have a small hash, so that what is kept is a fair sample of
whole clusters. The report says which share of all symbol sequences it stands for.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from heapq import nlargest
from statistics import fmean, pstdev
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from proxylm.compressors.contract import CompressedView
from proxylm.compressors.neural.coder.automaton import Automaton
from proxylm.progress import TellCount, told, untold

HIGH_LCP_RATIO = 0.8

PAPER = {"strings": "segments", "share_of_clusters": "over 0.9"}
"""What the paper says of LCP ratios from ``HIGH_LCP_RATIO`` on, and of which strings."""

HISTOGRAM_BINS = 10

KEPT_BYTES = 512 << 20
"""Memory for the segments of a corpus, their bookkeeping included."""

BOOKKEEPING_BYTES = 400
"""Of one string that is kept: objects and places in tables (measured, rounded up)."""

_ALL_HASHES = 1 << 64

SHOWN_CLUSTERS = 10
SHOWN_STRINGS = 8
SHOWN_BYTES = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Two or more different strings that share their symbols.

    Attributes:
        symbols: what all of them become.
        strings: the variants, the most probable or most frequent first.
    """

    symbols: tuple[int, ...]
    strings: tuple[bytes, ...]

    @property
    def mean_length(self) -> float:
        """Mean bytes of the variants."""
        return fmean(map(len, self.strings))

    @property
    def length_deviation(self) -> float:
        """Standard deviation of the variants' bytes."""
        return pstdev(map(len, self.strings))

    @property
    def common_prefix(self) -> int:
        """Bytes that all variants start with.

        >>> Cluster(symbols=(7,), strings=(b"abc", b"abd", b"ab")).common_prefix
        2
        """
        return len(os.path.commonprefix(self.strings))  # noqa: RUF071 - of bytes, no paths

    @property
    def lcp_ratio(self) -> float:
        """Common prefix over mean length, from 0 to below 1."""
        return self.common_prefix / self.mean_length

    def as_json(self) -> dict[str, Any]:
        """Its figures and first strings, as Python byte literals, long ones cut."""
        return {
            "symbols": list(self.symbols),
            "variants": len(self.strings),
            "lcp_ratio": self.lcp_ratio,
            "mean_length": self.mean_length,
            "length_deviation": self.length_deviation,
            "strings": self.shown_strings(SHOWN_STRINGS),
        }

    def shown_strings(self, count: int) -> list[str]:
        """The first variants as Python byte literals, cut after ``SHOWN_BYTES``.

        >>> Cluster(symbols=(7,), strings=(b" " * 90, b"a\\n")).shown_strings(2)[1]
        "b'a\\\\n'"
        """
        return [
            repr(string[:SHOWN_BYTES]) + ("…" if len(string) > SHOWN_BYTES else "")
            for string in self.strings[:count]
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean and standard deviation of a figure over clusters."""

    mean: float
    standard_deviation: float

    @classmethod
    def of(cls, values: NDArray[np.number]) -> Spread:
        """Of at least one value."""
        return cls(mean=float(values.mean()), standard_deviation=float(values.std()))


@dataclass(frozen=True, slots=True, kw_only=True)
class CollisionReport:
    """The collisions of one kind of strings.

    Attributes:
        kind: ``windows`` or ``segments``.
        strings: different strings.
        codes: different symbol sequences that they become.
        share_kept: of all symbol sequences, the share that this report is about.
        clusters: symbol sequences with two strings or more.
        strings_in_clusters: strings that are not told from another one.
        high_lcp_clusters: clusters with an LCP ratio of ``HIGH_LCP_RATIO`` or more.
        lcp_histogram: clusters by LCP ratio, in tenths.
        variants_histogram: clusters by their number of variants (Figure 6).
        spreads: of ``variants``, ``lcp_ratio`` and ``mean_length`` over clusters (Table 12); empty
            without clusters.
        largest: the clusters with the most variants.
        lowest, highest: those with the lowest and the highest LCP ratios; of equal ones, those
            with the most variants.
    """

    kind: str
    strings: int
    codes: int
    share_kept: float
    clusters: int
    strings_in_clusters: int
    high_lcp_clusters: int
    lcp_histogram: tuple[int, ...]
    variants_histogram: dict[int, int]
    spreads: dict[str, Spread]
    largest: tuple[Cluster, ...]
    lowest: tuple[Cluster, ...]
    highest: tuple[Cluster, ...]

    @property
    def high_lcp_share(self) -> float | None:
        """Share of clusters with a high LCP ratio; None without clusters."""
        return self.high_lcp_clusters / self.clusters if self.clusters else None

    def as_json(self) -> dict[str, Any]:
        """All figures, and single clusters."""
        examples = {
            "largest": self.largest,
            "lowest_lcp": self.lowest,
            "highest_lcp": self.highest,
        }
        return self.figures() | {
            name: [cluster.as_json() for cluster in clusters] for name, clusters in examples.items()
        }

    def figures(self) -> dict[str, Any]:
        """All figures, beside the paper's."""
        return {
            "of": self.kind,
            "strings": self.strings,
            "codes": self.codes,
            "share_kept": self.share_kept,
            "clusters": self.clusters,
            "strings_in_clusters": self.strings_in_clusters,
            "high_lcp": {
                "lcp_ratio": HIGH_LCP_RATIO,
                "share_of_clusters": self.high_lcp_share,
                "paper": PAPER,
            },
            "lcp_histogram": list(self.lcp_histogram),
            "variants_histogram": {str(size): n for size, n in self.variants_histogram.items()},
            "spreads": {name: asdict(spread) for name, spread in self.spreads.items()},
        }


def window_collisions(
    automaton: Automaton, *, shown: int = SHOWN_CLUSTERS, progress: TellCount = untold
) -> CollisionReport:
    """Collisions of windows, by enumeration of all strings that fit in one."""
    return _report(
        window_clusters(automaton, progress),
        shown,
        kind="windows",
        strings=len(automaton) - 1,
        codes=len(automaton.nodes_by_code),
        share_kept=1.0,
    )


def window_clusters(automaton: Automaton, progress: TellCount = untold) -> Iterator[Cluster]:
    """Strings that share a window's code."""
    for code, nodes in told(list(automaton.nodes_by_code.items()), "codes", progress):
        if len(nodes) > 1:
            yield Cluster(
                symbols=tuple(automaton.code_symbols(code)),
                strings=tuple(automaton.strings[node] for node in nodes),
            )


class SegmentCollisions:
    """Collisions of the segments of documents that are shown to it one by one.

    Args:
        kept_bytes: limit on memory; where it is reached, half of the symbol sequences are
            forgotten, and so are later segments with those symbols.
    """

    def __init__(self, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._limit_bytes = kept_bytes
        self._kept_bytes = 0
        self._hash_limit = _ALL_HASHES
        self._counts: dict[bytes, dict[bytes, int]] = {}

    def add_all(self, documents: Sequence[bytes], views: Sequence[CompressedView]) -> None:
        """Count the segments of documents (an ``Observer``)."""
        for raw, view in zip(documents, views, strict=True):
            self.add(raw, view)

    def add(self, raw: bytes, view: CompressedView) -> None:
        """Count a document's segments.

        Args:
            raw: the document.
            view: what the compressor made of it, with its segments.
        """
        for symbols, string in coded_segments(raw, view):
            if self._is_kept(symbols):
                self._count(symbols, string)
            if self._kept_bytes > self._limit_bytes:
                self._forget_half()

    def report(self, *, shown: int = SHOWN_CLUSTERS) -> CollisionReport:
        """The collisions so far."""
        return _report(
            self.clusters(),
            shown,
            kind="segments",
            strings=sum(map(len, self._counts.values())),
            codes=len(self._counts),
            share_kept=self._hash_limit / _ALL_HASHES,
        )

    def clusters(self) -> Iterator[Cluster]:
        """Segments that share all their symbols, in the order in which they were met."""
        for symbols, counts in self._counts.items():
            if len(counts) > 1:
                yield Cluster(symbols=_symbols(symbols), strings=_by_frequency(counts))

    def containing(self, symbol: int) -> Iterator[tuple[bytes, tuple[int, ...]]]:
        """The segments with a symbol somewhere, each with all its symbols."""
        for packed, counts in self._counts.items():
            symbols = _symbols(packed)
            if symbol in symbols:
                for string in _by_frequency(counts):
                    yield string, symbols

    def _is_kept(self, symbols: bytes) -> bool:
        return xxhash.xxh3_64_intdigest(symbols) < self._hash_limit

    def _count(self, symbols: bytes, string: bytes) -> None:
        counts = self._counts.setdefault(symbols, {})
        if string not in counts:
            counts[string] = 0
            self._kept_bytes += _size(symbols, string)
        counts[string] += 1

    def _forget_half(self) -> None:
        self._hash_limit //= 2
        self._counts = {one: counts for one, counts in self._counts.items() if self._is_kept(one)}
        self._kept_bytes = sum(
            _size(symbols, string) for symbols, counts in self._counts.items() for string in counts
        )


def coded_segments(raw: bytes, view: CompressedView) -> Iterator[tuple[bytes, bytes]]:
    """Each segment's symbols, as bytes of uint32, and its bytes."""
    assert view.segment_lengths is not None and view.segment_symbol_counts is not None
    symbols = view.symbols.astype("<u4", copy=False).tobytes()
    byte_ends = np.cumsum(view.segment_lengths, dtype=np.int64).tolist()
    symbol_ends = (4 * np.cumsum(view.segment_symbol_counts, dtype=np.int64)).tolist()
    byte_start = symbol_start = 0
    for byte_end, symbol_end in zip(byte_ends, symbol_ends, strict=True):
        yield symbols[symbol_start:symbol_end], raw[byte_start:byte_end]
        byte_start, symbol_start = byte_end, symbol_end


def _symbols(packed: bytes) -> tuple[int, ...]:
    return tuple(np.frombuffer(packed, "<u4").tolist())


def _by_frequency(counts: dict[bytes, int]) -> tuple[bytes, ...]:
    return tuple(sorted(counts, key=lambda string: -counts[string]))


def _size(symbols: bytes, string: bytes) -> int:
    return BOOKKEEPING_BYTES + len(symbols) + len(string)


def _report(clusters: Iterable[Cluster], shown: int, **sizes: Any) -> CollisionReport:
    found = list(clusters)
    figures = {
        "variants": np.array([len(one.strings) for one in found]),
        "lcp_ratio": np.array([one.lcp_ratio for one in found]),
        "mean_length": np.array([one.mean_length for one in found]),
    }
    ratios = figures["lcp_ratio"]
    tenths = (ratios * HISTOGRAM_BINS).astype(np.int64)
    return CollisionReport(
        clusters=len(found),
        strings_in_clusters=int(figures["variants"].sum()),
        high_lcp_clusters=int((ratios >= HIGH_LCP_RATIO).sum()),
        lcp_histogram=tuple(np.bincount(tenths, minlength=HISTOGRAM_BINS).tolist()),
        variants_histogram=dict(sorted(Counter(figures["variants"].tolist()).items())),
        spreads={name: Spread.of(one) for name, one in figures.items()} if found else {},
        largest=_foremost(found, shown, lambda one: len(one.strings)),
        lowest=_foremost(found, shown, lambda one: (-one.lcp_ratio, len(one.strings))),
        highest=_foremost(found, shown, lambda one: (one.lcp_ratio, len(one.strings))),
        **sizes,
    )


def _foremost(
    clusters: Sequence[Cluster], shown: int, key: Callable[[Cluster], Any]
) -> tuple[Cluster, ...]:
    return tuple(nlargest(shown, clusters, key=key))
