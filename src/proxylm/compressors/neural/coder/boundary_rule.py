"""Segments without an LM pass: boundaries read from the automaton's own nodes.

The method cuts where the byte LM, given the whole document, is surprised. Here the automaton is,
given what the window holds. A document is walked byte by byte. At byte ``x_i`` the walk stands at
the node of what was read since the last reset (a document's start, a cut, a window's end), with
frequencies ``f``. The *cost* ``h_i = round(256 · (16 − log2 f(x_i)))`` is an integer: its unit is
1/256 bit. A segment starts at ``i > 0`` where

    h_i > t_cost   or   h_i − h_{i−1} > t_jump   or   the segment already has 1024 bytes,

both strict. Then ``x_i`` is read at the root; where it does not fit the window, likewise, without
a cut. The walk is at the root only at a document's first byte, where nothing is decided. The walk
that cuts is the walk that codes, so symbols come with the cuts.

``plain_cuts`` is this paragraph as it reads. The fast form looks a byte up once: an edge's slot
also has its cost, and bytes with a cost beyond the thresholds have no slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.neural.coder.automaton import ROOT, Automaton
from proxylm.compressors.neural.coder.automaton_engine import SEGMENT_END
from proxylm.compressors.neural.coder.compiled import Record, Uint64, compiled, inlined
from proxylm.compressors.neural.coder.engine import CodedSegments, symbols_of_windows
from proxylm.compressors.neural.coder.settings import MAX_SEGMENT_BYTES
from proxylm.compressors.neural.coder.transitions import (
    LABEL_BITS,
    NO_EDGE,
    place_edges,
    transitions_of,
)
from proxylm.compressors.neural.frequencies import TOTAL, TOTAL_BITS
from proxylm.config import Config
from proxylm.errors import DataError
from proxylm.symbols import BYTE_COUNT

COST_UNITS_PER_BIT = 256
MAX_COST = TOTAL_BITS * COST_UNITS_PER_BIT

COSTS = np.zeros(TOTAL + 1, np.int32)
"""The cost of each frequency, in 1/256 bit; no frequency is 0."""
COSTS[1:] = np.rint(COST_UNITS_PER_BIT * (TOTAL_BITS - np.log2(np.arange(1, TOTAL + 1))))

LANES = 4


class CutThresholds(Config):
    """Limits in 1/256 bit; a byte that goes beyond one starts a segment."""

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
        table, thresholds = self._table, self.thresholds
        filled = document_lengths > 0
        windows, lengths, windows_per_segment, segments = cut_and_code(
            np.ascontiguousarray(raw), ends[filled], table.arguments(thresholds), table.codes
        )
        segments_per_document = np.zeros(len(document_lengths), np.uint32)
        segments_per_document[filled] = segments
        return CutDocuments(
            segment_lengths=lengths,
            segments_per_document=segments_per_document,
            coded=symbols_of_windows(self.automaton.settings, windows, windows_per_segment),
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
    children = {
        (parent, label): node
        for node, (parent, label) in enumerate(
            zip(automaton.parents.tolist(), automaton.labels.tolist(), strict=True)
        )
        if node != ROOT
    }
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
        node = children.get((node, byte), children[ROOT, byte])
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
    """A double array (``transitions``) of all bytes that may be read without a cut.

    Attributes:
        slots: uint64; byte, whether the window goes on, cost, and the child's base.
        first: uint64 ``[256]``, base of the root's child.
        first_costs: int64 ``[256]``, cost of a document's first byte.
        missing_cost: of a byte without a slot: beyond the thresholds, or the highest there is.
        codes: uint32 by base.
    """

    slots: NDArray[np.uint64]
    first: NDArray[np.uint64]
    first_costs: NDArray[np.int64]
    missing_cost: int
    codes: NDArray[np.uint32]

    def arguments(self, thresholds: CutThresholds) -> tuple[Any, ...]:
        """What the kernels read of it, with the limits to compare costs with."""
        limits = np.int64(thresholds.cost), np.int64(thresholds.jump), np.int64(self.missing_cost)
        return self.slots, self.first, self.first_costs, *limits


_LABELS = np.uint64(NO_EDGE)
_STAYS_SHIFT = np.uint64(LABEL_BITS)
_COST_SHIFT = np.uint64(LABEL_BITS + 1)
_COST_MASK = np.uint64((1 << 13) - 1)
_BASE_SHIFT = np.uint64(LABEL_BITS + 14)
_EDGE_BASE_SHIFT = np.uint64(LABEL_BITS)
_END_SHIFT = np.uint64(SEGMENT_END.bit_length() - 1)
_BASES = np.uint32(SEGMENT_END - 1)


def _cutting_table(automaton: Automaton, thresholds: CutThresholds) -> _CuttingTable:
    # A cost above both limits always cuts, and so does no later jump from it: one stands for all.
    cap = max(thresholds.cost, thresholds.cost - thresholds.jump)
    rows = np.repeat(np.arange(len(automaton)), np.diff(automaton.row_starts))
    row_keys = rows * BYTE_COUNT + automaton.row_bytes
    row_costs = COSTS[automaton.row_frequencies]
    parents, labels = automaton.parents[1:].astype(np.int64), automaton.labels[1:]
    child_keys = parents * BYTE_COUNT + labels
    keys = np.union1d(row_keys[row_costs <= cap], child_keys)
    costs = np.full(len(keys), MAX_COST, np.int64)
    _put(costs, keys, row_keys, row_costs)
    children = np.full(len(keys), ROOT, np.int64)
    _put(children, keys, child_keys, np.arange(1, len(automaton)))

    nodes, row_bytes = np.divmod(keys, BYTE_COUNT)
    starts = np.searchsorted(nodes, np.arange(len(automaton) + 1))
    bases, num_slots = place_edges(starts, row_bytes.astype(np.uint8))
    slots = np.full(num_slots, NO_EDGE, np.uint64)
    stays = children != ROOT
    slots[bases[nodes] + row_bytes] = (
        row_bytes.astype(np.uint64)
        | stays.astype(np.uint64) << _STAYS_SHIFT
        | costs.astype(np.uint64) << _COST_SHIFT
        | bases[children].astype(np.uint64) << _BASE_SHIFT
    )
    of_root = np.flatnonzero(parents == ROOT)
    first = np.zeros(BYTE_COUNT, np.uint64)
    first[labels[of_root]] = bases[of_root + 1]
    codes = np.zeros(int(bases.max()) + 1, np.uint32)
    codes[bases] = automaton.codes
    return _CuttingTable(
        slots=slots,
        first=first,
        first_costs=COSTS[automaton.frequencies_at(ROOT)].astype(np.int64),
        missing_cost=min(cap + 1, MAX_COST),
        codes=codes,
    )


def _put(
    target: NDArray[np.int64],
    keys: NDArray[np.int64],
    found_keys: NDArray[np.int64],
    values: NDArray[np.integer],
) -> None:
    """Set the values of those ``found_keys`` that are among ``keys`` (both sorted or not)."""
    places = np.searchsorted(keys, found_keys)
    places[places == len(keys)] = 0
    known = keys[places] == found_keys
    target[places[known]] = values[known]


@inlined
def _read(
    byte: int, base: Uint64, previous: int, since: int, table: tuple[Any, ...]
) -> tuple[Any, ...]:
    """One byte: the next base, its cost, whether it is cut off and whether the window goes on."""
    slots, first, _, cost_limit, jump_limit, missing_cost = table
    slot = slots[base + np.uint64(byte)]
    is_found = slot & _LABELS == np.uint64(byte)
    cost = np.int64((slot >> _COST_SHIFT) & _COST_MASK) if is_found else missing_cost
    is_cut = (cost > min(cost_limit, previous + jump_limit)) | (since == MAX_SEGMENT_BYTES)
    stays = is_found & ((slot >> _STAYS_SHIFT) & np.uint64(1) != 0) & (not is_cut)
    next_base = slot >> _BASE_SHIFT if stays else first[byte]
    return next_base, cost, is_cut, stays


@compiled
def walk_costs(
    raw: NDArray[np.uint8],
    document_ends: NDArray[np.int64],
    slots: NDArray[np.uint32],
    first: NDArray[np.uint32],
    nodes: NDArray[np.int64],
    rows: tuple[Any, ...],
    frequency_costs: NDArray[np.int32],
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
            cost = MAX_COST
            if entry < len(entries) and entries[entry] == byte:
                cost = frequency_costs[row_frequencies[row_starts[node] + entry]]
            costs[place] = cost
            is_surprise = node != ROOT and (cost > limits[0] or cost - costs[place - 1] > limits[1])
            slot = np.uint64(slots[base + np.uint64(byte)])
            is_cut = is_surprise or place - start == MAX_SEGMENT_BYTES
            if node == ROOT or is_cut or slot & _LABELS != np.uint64(byte):
                base = np.uint64(first[byte])
            else:
                base = slot >> _EDGE_BASE_SHIFT
            if is_cut:
                start = place
            node = nodes[base]
        position = end
    return costs


LANE_DTYPE = np.dtype(
    [
        ("document", "i8"),  # the next one to open ...
        ("last_document", "i8"),  # ... and where the lane's documents end
        ("is_open", "?"),  # whether a document is being read:
        ("position", "u8"),
        ("end", "u8"),
        ("base", "u8"),  # of the node
        ("cost", "i8"),  # of the byte before
        ("since", "i8"),  # bytes of the segment so far
        ("window", "u8"),  # where the next window's record goes
        ("segment", "u8"),  # where the next segment's length goes
        ("first_segment", "u8"),  # of the document
    ]
)
"""Where one lane stands. A lane reads a stretch of documents and writes at its first byte's place:
no document has more windows or segments than bytes."""


@compiled
def cut_and_code(
    raw: NDArray[np.uint8],
    document_ends: NDArray[np.int64],
    table: tuple[Any, ...],
    codes: NDArray[np.uint32],
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
    """Codes of windows; lengths and windows of segments; segments of documents (none is empty).

    Documents do not depend on each other, so stretches of them are walked side by side: a lookup
    waits for the one before it in the same document alone.
    """
    records, lengths = np.empty(len(raw), np.uint32), np.empty(len(raw), np.uint32)
    segments = np.empty(len(document_ends), np.uint32)
    lanes = np.zeros(LANES, LANE_DTYPE)
    _share_documents(lanes, document_ends)
    while True:
        num_open = 0
        steps = np.uint64(len(raw))
        for number in range(LANES):
            lane = lanes[number]
            _open_next(lane, raw, document_ends, table, records, lengths, segments)
            if lane.is_open:
                num_open += 1
                steps = min(steps, lane.end - lane.position)
        if num_open == 0:
            break
        if num_open == LANES:
            _walk_together(lanes, steps, raw, table, records, lengths)
        else:
            for number in range(LANES):
                if lanes[number].is_open:
                    _walk_alone(lanes[number], raw, table, records, lengths)
    windows, lengths, per_segment = _gathered(lanes, document_ends, records, lengths, codes)
    return windows, lengths, per_segment, segments


@inlined
def _share_documents(lanes: NDArray[np.void], document_ends: NDArray[np.int64]) -> None:
    """Give each lane documents of about as many bytes."""
    num_bytes = document_ends[-1] if len(document_ends) else 0
    document = 0
    for number in range(LANES):
        lane = lanes[number]
        start = document_ends[document - 1] if document else 0
        lane.document = document
        lane.position = lane.end = lane.window = lane.segment = start
        share_end = num_bytes * (number + 1) // LANES
        while document < len(document_ends) and document_ends[document] <= share_end:
            document += 1
        if number + 1 == LANES:
            document = len(document_ends)
        lane.last_document = document


@inlined
def _open_next(
    lane: Record,
    raw: NDArray[np.uint8],
    document_ends: NDArray[np.int64],
    table: tuple[Any, ...],
    records: NDArray[np.uint32],
    lengths: NDArray[np.uint32],
    segments: NDArray[np.uint32],
) -> None:
    """Close a document that was read, and open the next ones until one has bytes left."""
    _, first, first_costs, _, _, _ = table
    while lane.position == lane.end:
        if lane.is_open:
            records[lane.window] = np.uint32(lane.base | np.uint64(SEGMENT_END))
            lengths[lane.segment] = lane.since
            lane.window += np.uint64(1)
            lane.segment += np.uint64(1)
            segments[lane.document - 1] = lane.segment - lane.first_segment
            lane.is_open = False
        if lane.document == lane.last_document:
            return
        byte = raw[lane.position]
        lane.base, lane.cost, lane.since = first[byte], first_costs[byte], 1
        lane.position += np.uint64(1)
        lane.end = document_ends[lane.document]
        lane.first_segment = lane.segment
        lane.document += 1
        lane.is_open = True


@inlined
def _step(
    byte: int,
    state: tuple[Any, ...],
    table: tuple[Any, ...],
    records: NDArray[np.uint32],
    lengths: NDArray[np.uint32],
) -> tuple[Any, ...]:
    """Read one byte; what ends before it is written down."""
    base, cost, since, window, segment = state
    next_base, next_cost, is_cut, stays = _read(byte, base, cost, since, table)
    records[window] = np.uint32(base | (np.uint64(is_cut) << _END_SHIFT))
    lengths[segment] = since
    return (
        next_base,
        next_cost,
        np.int64(1) if is_cut else since + 1,
        window + np.uint64(not stays),
        segment + np.uint64(is_cut),
    )


@inlined
def _state_of(lane: Record) -> tuple[Any, ...]:
    return lane.base, lane.cost, lane.since, lane.window, lane.segment


@inlined
def _keep(lane: Record, steps: Uint64, state: tuple[Any, ...]) -> None:
    lane.base, lane.cost, lane.since, lane.window, lane.segment = state
    lane.position += np.uint64(steps)


@compiled
def _walk_alone(
    lane: Record,
    raw: NDArray[np.uint8],
    table: tuple[Any, ...],
    records: NDArray[np.uint32],
    lengths: NDArray[np.uint32],
) -> None:
    """One lane to the end of its document."""
    state = _state_of(lane)
    for position in range(lane.position, lane.end):
        state = _step(raw[position], state, table, records, lengths)
    _keep(lane, lane.end - lane.position, state)


@compiled
def _walk_together(
    lanes: NDArray[np.void],
    steps: Uint64,
    raw: NDArray[np.uint8],
    table: tuple[Any, ...],
    records: NDArray[np.uint32],
    lengths: NDArray[np.uint32],
) -> None:
    """All lanes, step by step."""
    state0, state1 = _state_of(lanes[0]), _state_of(lanes[1])
    state2, state3 = _state_of(lanes[2]), _state_of(lanes[3])
    from0, from1 = lanes[0].position, lanes[1].position
    from2, from3 = lanes[2].position, lanes[3].position
    for step in range(np.uint64(steps)):
        state0 = _step(raw[from0 + step], state0, table, records, lengths)
        state1 = _step(raw[from1 + step], state1, table, records, lengths)
        state2 = _step(raw[from2 + step], state2, table, records, lengths)
        state3 = _step(raw[from3 + step], state3, table, records, lengths)
    _keep(lanes[0], steps, state0)
    _keep(lanes[1], steps, state1)
    _keep(lanes[2], steps, state2)
    _keep(lanes[3], steps, state3)


@compiled
def _gathered(
    lanes: NDArray[np.void],
    document_ends: NDArray[np.int64],
    records: NDArray[np.uint32],
    lengths: NDArray[np.uint32],
    codes: NDArray[np.uint32],
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
    """What the lanes wrote, moved together: codes of windows, lengths and windows of segments."""
    num_windows, num_segments = np.uint64(0), np.uint64(0)
    per_segment = np.empty(len(lengths) + 1, np.uint32)
    done = np.uint64(0)
    start = np.uint64(0)
    for number in range(LANES):
        lane = lanes[number]
        for place in range(start, lane.window):
            record = records[place]
            records[num_windows] = codes[record & _BASES]
            num_windows += np.uint64(1)
            per_segment[done] = num_windows
            done += np.uint64(record >> _END_SHIFT)
        for place in range(start, lane.segment):
            lengths[num_segments] = lengths[place]
            num_segments += np.uint64(1)
        if lane.last_document:
            start = np.uint64(document_ends[lane.last_document - 1])
    for index in range(np.int64(num_segments) - 1, 0, -1):
        per_segment[index] -= per_segment[index - 1]
    return records[:num_windows], lengths[:num_segments], per_segment[:num_segments]
