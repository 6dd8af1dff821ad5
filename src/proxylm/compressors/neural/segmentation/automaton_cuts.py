"""Segments without an LM pass: boundaries read from the automaton's own nodes.

The method cuts where the byte LM, given the whole document, is surprised. Here the automaton is,
given what the window holds. A document is walked byte by byte. At byte ``x_i`` the walk stands at
the node of what was read since the last reset (a document's start, a cut, a window's end), with
frequencies ``f``. The *cost* ``h_i = min(255, round(16 · (16 − log2 f(x_i))))`` is an integer: its
unit is 1/16 bit. A segment starts at ``i > 0`` where

    h_i > t_cost   or   h_i − h_{i−1} > t_jump   or   the segment already has 1024 bytes,

both strict. Then ``x_i`` is read at the root; where it does not fit the window, likewise, without
a cut. The walk is at the root only at a document's first byte, where nothing is decided. The walk
that cuts is the walk that codes, so symbols come with the cuts.

``plain_cuts`` is this paragraph as it reads. The fast form finds the cost of a byte that fits in
the same slot as its edge, and the others in a second table of two bytes an entry, which holds the
costs that the thresholds can tell apart: all that is read stays in a core's caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.compiled import Uint64
from proxylm.compressors.neural.coder.automaton import ROOT, Automaton
from proxylm.compressors.neural.coder.compiled import compiled, inlined
from proxylm.compressors.neural.coder.engine import CodedSegments, symbols_of_windows
from proxylm.compressors.neural.coder.frequencies import TOTAL, TOTAL_BITS
from proxylm.compressors.neural.coder.settings import MAX_SEGMENT_BYTES
from proxylm.compressors.neural.coder.transitions import (
    LABEL_BITS,
    NO_EDGE,
    place_edges,
    transitions_of,
)
from proxylm.config import Config
from proxylm.errors import DataError, UsageError
from proxylm.symbols import BYTE_COUNT

COST_UNITS_PER_BIT = 16
MAX_COST = 255
"""The highest cost: nearly 16 bits, and what fits in a byte."""

COSTS = np.zeros(TOTAL + 1, np.uint8)
"""The cost of each frequency, in 1/16 bit; no frequency is 0."""
_INFORMATION = COST_UNITS_PER_BIT * (TOTAL_BITS - np.log2(np.arange(1, TOTAL + 1)))
COSTS[1:] = np.minimum(MAX_COST, np.rint(_INFORMATION))


class CutThresholds(Config):
    """Limits in 1/16 bit; a byte that goes beyond one starts a segment."""

    cost: int
    jump: int


NO_CUTS = CutThresholds(cost=MAX_COST, jump=MAX_COST)
"""Thresholds that no byte goes beyond: segments end with their document or at 1024 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutDocuments:
    """Documents in segments, and the segments' symbols.

    Attributes:
        segment_lengths: uint32 ``[s]``, bytes.
        segments_per_document: uint32 ``[d]``, of sum ``s``; 0 for an empty document alone.
        coded: symbols of the segments.
    """

    segment_lengths: NDArray[np.uint32]
    segments_per_document: NDArray[np.uint32]
    coded: CodedSegments


class AutomatonCutter:
    """Cuts documents by the automaton's own costs, and codes the segments in the same walk."""

    def __init__(self, automaton: Automaton, thresholds: CutThresholds) -> None:
        self.automaton = automaton
        self.thresholds = thresholds
        self._table = _cutting_table(automaton, thresholds)

    def cut(self, raw: NDArray[np.uint8], document_lengths: NDArray[np.uint32]) -> CutDocuments:
        """Segments and symbols of the documents that follow each other in ``raw``.

        Args:
            raw: uint8 ``[n]``.
            document_lengths: uint32 ``[d]`` of sum ``n``.

        Raises:
            ValueError: the lengths do not fit.
        """
        ends = np.cumsum(document_lengths, dtype=np.int64)
        if (int(ends[-1]) if len(ends) else 0) != len(raw):
            raise ValueError(f"document lengths do not add up to {len(raw)} bytes")
        filled = document_lengths > 0
        windows, lengths, windows_per_segment, segments = cut_and_code(
            np.ascontiguousarray(raw),
            ends[filled],
            self._table.arrays(),
            (self.thresholds.cost, self.thresholds.jump),
        )
        segments_per_document = np.zeros(len(document_lengths), np.uint32)
        segments_per_document[filled] = segments
        settings = self.automaton.settings
        return CutDocuments(
            segment_lengths=lengths,
            segments_per_document=segments_per_document,
            coded=symbols_of_windows(settings, windows, windows_per_segment),
        )


def automaton_cuts(
    automaton: Automaton, documents: Sequence[bytes], thresholds: CutThresholds
) -> list[NDArray[np.uint32]]:
    """Segment lengths of each document: uint32 ``[s_i]``."""
    raw = np.frombuffer(b"".join(documents), np.uint8)
    lengths = np.array([len(document) for document in documents], np.uint32)
    found = AutomatonCutter(automaton, thresholds).cut(raw, lengths)
    ends = np.cumsum(found.segments_per_document, dtype=np.int64)
    return np.split(found.segment_lengths, ends[:-1]) if len(ends) else []


def plain_cuts(
    automaton: Automaton, document: bytes, thresholds: CutThresholds
) -> tuple[list[int], list[int]]:
    """The rule as it is defined: a document's segment lengths, and the cost of each byte."""
    node, start = ROOT, 0
    lengths: list[int] = []
    costs: list[int] = []
    for position, byte in enumerate(document):
        costs.append(int(COSTS[automaton.frequencies_at(node)[byte]]))
        is_surprise = node != ROOT and (
            costs[-1] > thresholds.cost or costs[-1] - costs[-2] > thresholds.jump
        )
        if is_surprise or position - start == MAX_SEGMENT_BYTES:
            lengths.append(position - start)
            node, start = ROOT, position
        node = automaton.children.get((node, byte), automaton.children[ROOT, byte])
    return lengths + [len(document) - start] * bool(document), costs


FIT_ROUNDS = 4


def fit_thresholds(
    automaton: Automaton, documents: Sequence[bytes], percentile: float
) -> CutThresholds:
    """Thresholds at a percentile of the costs and of their jumps over sample documents.

    Costs depend on the cuts, which restart windows: they are first measured without cuts, then
    again with the thresholds found, ``FIT_ROUNDS`` times in all.

    Raises:
        DataError: the documents have fewer than two bytes in all.
    """
    raw = np.frombuffer(b"".join(documents), np.uint8)
    ends = np.cumsum([len(document) for document in documents if document], dtype=np.int64)
    if len(raw) < 2:
        raise DataError("the sample for the thresholds is empty; give more documents")
    thresholds = NO_CUTS
    for _ in range(FIT_ROUNDS):
        costs = measured_costs(automaton, raw, ends, thresholds)
        inside = np.ones(len(raw), np.bool_)
        inside[0] = False
        inside[ends[:-1]] = False
        jumps = np.diff(costs, prepend=0)[inside]
        levels = [_percentile(values, percentile) for values in (costs, jumps)]
        thresholds = CutThresholds(cost=levels[0], jump=levels[1])
    return thresholds


def _percentile(values: NDArray[np.int32], percentile: float) -> int:
    if not len(values):
        return MAX_COST
    return int(np.percentile(values, percentile, method="inverted_cdf"))


def measured_costs(
    automaton: Automaton,
    raw: NDArray[np.uint8],
    document_ends: NDArray[np.int64],
    thresholds: CutThresholds,
) -> NDArray[np.int32]:
    """The cost of every byte in the walk that cuts at ``thresholds``: int32 ``[n]``.

    Args:
        automaton: whose walk.
        raw: uint8 ``[n]``.
        document_ends: int64 ``[d]``, ascending, the last one ``n``.
        thresholds: where it cuts.
    """
    edges = transitions_of(automaton)
    nodes = edges.by_base(np.arange(len(automaton)))
    rows = automaton.row_starts, automaton.row_bytes, automaton.row_frequencies
    limits = thresholds.cost, thresholds.jump
    return walk_costs(raw, document_ends, edges.slots, edges.first, nodes, rows, COSTS, limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CuttingTable:
    """Two double arrays (``transitions``): of the bytes that fit, and of the others.

    A *state* is where a node's edges start (22 bits) and where its other bytes start (25 bits).

    Attributes:
        slots: uint64; byte and cost of an edge, and the child's state.
        others: uint16, ``byte << 8 | cost``. Bytes without an entry have ``MAX_COST``.
        first: uint64 ``[256]``, states of the root's children.
        first_costs: int64 ``[256]``, costs of a document's first byte.
        codes: uint32, by where a node's edges start.
    """

    slots: NDArray[np.uint64]
    others: NDArray[np.uint16]
    first: NDArray[np.uint64]
    first_costs: NDArray[np.int64]
    codes: NDArray[np.uint32]

    def arrays(self) -> tuple[Any, ...]:
        """What the kernel reads."""
        return self.slots, self.others, self.first, self.first_costs, self.codes


_LABEL_BITS, _COST_BITS, _EDGE_BITS, _OTHER_BITS = 9, 8, 22, 25
_NO_EDGE = np.uint64(BYTE_COUNT)
_LABELS = np.uint64((1 << _LABEL_BITS) - 1)
_COSTS = np.uint64(MAX_COST)
_COST_SHIFT = np.uint64(_LABEL_BITS)
_STATE_SHIFT = np.uint64(_LABEL_BITS + _COST_BITS)
_EDGE_LABELS = np.uint64(NO_EDGE)
_EDGE_BASE_SHIFT = np.uint64(LABEL_BITS)
_EDGES = np.uint64((1 << _EDGE_BITS) - 1)
_OTHER_SHIFT = np.uint64(_EDGE_BITS)


def _cutting_table(automaton: Automaton, thresholds: CutThresholds) -> _CuttingTable:
    nodes = np.repeat(np.arange(len(automaton)), np.diff(automaton.row_starts))
    keys = nodes * BYTE_COUNT + automaton.row_bytes
    costs = COSTS[automaton.row_frequencies]
    parents, labels = automaton.parents[1:].astype(np.int64), automaton.labels[1:]
    child_keys = parents * BYTE_COUNT + labels

    edges = transitions_of(automaton)
    other_bases, others = _others(automaton, thresholds, keys, costs, child_keys)
    states = edges.bases.astype(np.uint64) | other_bases << _OTHER_SHIFT
    child_costs = np.full(len(child_keys), MAX_COST, np.uint64)
    places = np.minimum(np.searchsorted(keys, child_keys), len(keys) - 1)
    is_kept = keys[places] == child_keys
    child_costs[is_kept] = costs[places[is_kept]]
    slots = np.full(len(edges.slots), _NO_EDGE, np.uint64)
    slots[edges.bases[parents] + labels] = (
        labels | child_costs << _COST_SHIFT | states[1:] << _STATE_SHIFT
    )
    first = np.zeros(BYTE_COUNT, np.uint64)
    is_first = parents == ROOT
    first[labels[is_first]] = states[1:][is_first]
    return _CuttingTable(
        slots=slots,
        others=others,
        first=first,
        first_costs=COSTS[automaton.frequencies_at(ROOT)].astype(np.int64),
        codes=edges.by_base(automaton.codes),
    )


def _others(
    automaton: Automaton,
    thresholds: CutThresholds,
    keys: NDArray[np.int64],
    costs: NDArray[np.uint8],
    child_keys: NDArray[np.int64],
) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """Where each node's entries start, uint64 ``[n]``, and the entries (``_CuttingTable``)."""
    # A cost above both limits always cuts, and so does no jump from it: the highest stands for it.
    cap = max(thresholds.cost, thresholds.cost - thresholds.jump)
    is_other = (costs <= cap) & (costs < MAX_COST)
    is_other[is_other] = ~np.isin(keys[is_other], child_keys, assume_unique=True)
    nodes, row_bytes = np.divmod(keys[is_other], BYTE_COUNT)
    starts = np.searchsorted(nodes, np.arange(len(automaton) + 1))
    bases = place_edges(starts, row_bytes.astype(np.uint8))[0].astype(np.uint64)
    # Nodes without entries share a stretch that nobody else reads.
    is_empty = starts[1:] == starts[:-1]
    nowhere = int(bases[~is_empty].max(initial=0)) + BYTE_COUNT
    bases[is_empty] = nowhere
    if nowhere >= 1 << _OTHER_BITS:
        raise UsageError(
            f"an automaton of {len(automaton)} nodes is too large for the automaton's own "
            "boundary rule at these thresholds; take the entropy rule"
        )
    others = np.full(nowhere + BYTE_COUNT, MAX_COST, np.uint16)
    others[bases[nodes].astype(np.int64) + row_bytes] = row_bytes << 8 | costs[is_other]
    return bases, others


@compiled
def walk_costs(
    raw: NDArray[np.uint8],
    document_ends: NDArray[np.int64],
    slots: NDArray[np.uint32],
    first: NDArray[np.uint32],
    nodes: NDArray[np.int64],
    rows: tuple[Any, ...],
    frequency_costs: NDArray[np.uint8],
    limits: tuple[int, int],
) -> NDArray[np.int32]:
    """The costs of all bytes (``measured_costs``), by the codes' edges and the nodes' rows."""
    row_starts, row_bytes, row_frequencies = rows
    costs = np.empty(len(raw), np.int32)
    position = 0
    for end in document_ends:
        start = position
        node = ROOT
        base = np.uint64(0)
        for place in range(position, end):
            byte = raw[place]
            entries = row_bytes[row_starts[node] : row_starts[node + 1]]
            entry = np.searchsorted(entries, byte)
            cost = np.int64(MAX_COST)
            if entry < len(entries) and entries[entry] == byte:
                cost = np.int64(frequency_costs[row_frequencies[row_starts[node] + entry]])
            costs[place] = cost
            is_surprise = node != ROOT and (cost > limits[0] or cost - costs[place - 1] > limits[1])
            slot = np.uint64(slots[base + np.uint64(byte)])
            is_cut = is_surprise or place - start == MAX_SEGMENT_BYTES
            if node == ROOT or is_cut or slot & _EDGE_LABELS != np.uint64(byte):
                base = np.uint64(first[byte])
            else:
                base = slot >> _EDGE_BASE_SHIFT
            if is_cut:
                start = place
            node = nodes[base]
        position = end
    return costs


@compiled
def cut_and_code(
    raw: NDArray[np.uint8],
    document_ends: NDArray[np.int64],
    table: tuple[Any, ...],
    limits: tuple[int, int],
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
    """Codes of windows; lengths and windows of segments; segments of documents (none is empty)."""
    windows, lengths = np.empty(len(raw), np.uint32), np.empty(len(raw), np.uint32)
    window_ends = np.empty(len(raw), np.uint32)
    segments = np.empty(len(document_ends), np.uint32)
    num_windows, num_segments, position = np.uint64(0), np.uint64(0), np.uint64(0)
    for document in range(len(document_ends)):
        before = num_segments
        end = np.uint64(document_ends[document])
        num_windows, num_segments = _cut_document(
            raw,
            position,
            end,
            table,
            limits,
            windows,
            lengths,
            window_ends,
            num_windows,
            num_segments,
        )
        segments[document] = num_segments - before
        position = end
    for index in range(np.int64(num_segments) - 1, 0, -1):
        window_ends[index] -= window_ends[index - 1]
    return windows[:num_windows], lengths[:num_segments], window_ends[:num_segments], segments


@inlined
def _cut_document(
    raw: NDArray[np.uint8],
    position: Uint64,
    end: Uint64,
    table: tuple[Any, ...],
    limits: tuple[int, int],
    windows: NDArray[np.uint32],
    lengths: NDArray[np.uint32],
    window_ends: NDArray[np.uint32],
    num_windows: Uint64,
    num_segments: Uint64,
) -> tuple[Uint64, Uint64]:
    """Walk through a document; returns the windows and segments written so far."""
    slots, others, first, first_costs, codes = table
    cost_limit, jump_limit = limits
    state, cost = first[raw[position]], first_costs[raw[position]]
    start = position
    for place in range(position + np.uint64(1), end):
        byte = np.uint64(raw[place])
        edge = state & _EDGES
        slot = slots[edge + byte]
        limit = min(cost_limit, cost + jump_limit)
        is_cut = place - start == np.uint64(MAX_SEGMENT_BYTES)
        if slot & _LABELS == byte:
            cost = np.int64((slot >> _COST_SHIFT) & _COSTS)
            if cost <= limit and not is_cut:
                state = slot >> _STATE_SHIFT
                continue
            is_cut = True
        else:
            other = np.int64(others[(state >> _OTHER_SHIFT) + byte])
            cost = other & MAX_COST if other >> 8 == np.int64(byte) else MAX_COST
            is_cut |= cost > limit
        windows[num_windows] = codes[edge]
        num_windows += np.uint64(1)
        if is_cut:
            lengths[num_segments] = place - start
            window_ends[num_segments] = num_windows
            num_segments += np.uint64(1)
            start = place
        state = first[byte]
    windows[num_windows] = codes[state & _EDGES]
    num_windows += np.uint64(1)
    lengths[num_segments] = end - start
    window_ends[num_segments] = num_windows
    return num_windows, num_segments + np.uint64(1)
