"""The automaton's own rule at work, in fast walks; ``automaton`` defines what they compute.

``walk_costs`` gives the cost of every byte and serves fitting. ``cut_and_code`` cuts and codes. It
finds the cost of a byte that fits in the same word as its edge, and the others in a second table
of two bytes an entry, which holds the costs that the thresholds can tell apart: all that is read
stays in a core's caches.

The words of ``cut_and_code``'s table, from the lowest bit up:

- *cost*, 8 bits: information in 1/16 bit, 255 where there is more.
- *state*, 47 bits, which stand for a node: where its edges start (22, its *base* in the double
  array of ``transitions``), and where the entries of its other bytes start (25).
- *slot*, a uint64 at ``edges start + byte``: the edge's byte (9; 256 where there is no edge), the
  byte's cost (8), the child's state (47).
- *entry*, a uint16 at ``other bytes start + byte``: the byte's cost (8), the byte (8). One that
  belongs to nobody is 255: the highest cost, whichever byte asks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from proxylm.compiled import Int32s, Int64s, Uint8s, Uint16s, Uint32s, Uint64, Uint64s
from proxylm.compressors.neural.coder.automaton import ROOT, Automaton
from proxylm.compressors.neural.coder.compiled import compiled
from proxylm.compressors.neural.coder.contract import symbols_of_windows
from proxylm.compressors.neural.coder.settings import MAX_SEGMENT_BYTES
from proxylm.compressors.neural.coder.transitions import (
    LABEL_BITS,
    NO_EDGE,
    place_edges,
    transitions_of,
)
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.automaton import COSTS, MAX_COST, AutomatonThresholds
from proxylm.compressors.neural.segmentation.contract import Cuts, Segmenter
from proxylm.errors import UsageError
from proxylm.symbols import BYTE_COUNT

_LABEL_BITS, _COST_BITS, _EDGE_BITS, _OTHER_BITS = 9, 8, 22, 25
_NO_EDGE = np.uint64(BYTE_COUNT)
_LABELS = np.uint64((1 << _LABEL_BITS) - 1)
_COSTS = np.uint64(MAX_COST)
_COST_SHIFT = np.uint64(_LABEL_BITS)
_STATE_SHIFT = np.uint64(_LABEL_BITS + _COST_BITS)
_EDGES = np.uint64((1 << _EDGE_BITS) - 1)
_OTHER_SHIFT = np.uint64(_EDGE_BITS)

# Those of the automaton engine's slots (``transitions``), which ``walk_costs`` reads.
_PLAIN_LABELS = np.uint64(NO_EDGE)
_PLAIN_BASE_SHIFT = np.uint64(LABEL_BITS)


class AutomatonSegmenter(Segmenter):
    """Cuts documents by the automaton's own costs, and codes the segments in the same walk.

    Raises:
        UsageError: the automaton has too many nodes for the walk's table.
    """

    def __init__(self, automaton: Automaton, thresholds: AutomatonThresholds) -> None:
        self.automaton = automaton
        self.thresholds = thresholds
        self._table = cutting_table(automaton, thresholds.cost, thresholds.jump)

    def cut(self, documents: FlatDocuments) -> Cuts:
        """See the base class; the segments' symbols come with them."""
        limits = self.thresholds.cost, self.thresholds.jump
        codes, lengths, windows_per_segment = cut_and_code(
            documents.raw, documents.filled_ends, self._table, limits
        )
        coded = symbols_of_windows(self.automaton.settings, codes, windows_per_segment)
        return Cuts(lengths=lengths, coded=coded)


def measured_costs(
    automaton: Automaton, documents: FlatDocuments, thresholds: AutomatonThresholds
) -> Int32s:
    """The cost of every byte in the walk that cuts at ``thresholds``: int32 ``[n]``."""
    edges = transitions_of(automaton)
    nodes = edges.by_base(np.arange(len(automaton)))
    rows = automaton.row_starts, automaton.row_bytes, automaton.row_frequencies
    limits = thresholds.cost, thresholds.jump
    return walk_costs(
        documents.raw, documents.filled_ends, edges.slots, edges.first, nodes, rows, COSTS, limits
    )


class CuttingTable(NamedTuple):
    """What ``cut_and_code`` reads of an automaton, for one pair of thresholds.

    Attributes:
        slots: uint64 ``[slots]``, edges.
        others: uint16 ``[entries]``, bytes without an edge; those without an entry of their own
            have ``MAX_COST``.
        first: uint64 ``[256]``, states of the root's children.
        first_costs: int64 ``[256]``, costs of a document's first byte.
        codes: uint32, by where a node's edges start.
    """

    slots: Uint64s
    others: Uint16s
    first: Uint64s
    first_costs: Int64s
    codes: Uint32s


def cutting_table(automaton: Automaton, cost_limit: int, jump_limit: int) -> CuttingTable:
    """The table of an automaton for thresholds.

    Raises:
        UsageError: the table would be larger than a state can address.
    """
    # A key names a byte after a node; those of rows (frequencies above 1) and of edges ascend.
    row_nodes = np.repeat(np.arange(len(automaton)), np.diff(automaton.row_starts))
    row_keys = row_nodes * BYTE_COUNT + automaton.row_bytes
    row_costs = COSTS[automaton.row_frequencies]
    parents, labels = automaton.parents[1:].astype(np.int64), automaton.labels[1:]
    edge_keys = parents * BYTE_COUNT + labels

    edges = transitions_of(automaton)
    # A cost above both limits always cuts, and so does no jump from it: the highest stands for it.
    cap = max(cost_limit, cost_limit - jump_limit)
    is_told = (row_costs <= cap) & (row_costs < MAX_COST)
    is_told[is_told] = ~np.isin(row_keys[is_told], edge_keys, assume_unique=True)
    other_starts, others = _others(len(automaton), row_keys[is_told], row_costs[is_told])
    states = edges.bases.astype(np.uint64) | other_starts << _OTHER_SHIFT

    slots = np.full(len(edges.slots), _NO_EDGE, np.uint64)
    slots[edges.bases[parents] + labels] = (
        labels
        | _costs_at(edge_keys, row_keys, row_costs) << _COST_SHIFT
        | states[1:] << _STATE_SHIFT
    )
    first = np.zeros(BYTE_COUNT, np.uint64)
    is_first = parents == ROOT
    first[labels[is_first]] = states[1:][is_first]
    return CuttingTable(
        slots=slots,
        others=others,
        first=first,
        first_costs=COSTS[automaton.frequencies_at(ROOT)].astype(np.int64),
        codes=edges.by_base(automaton.codes),
    )


def _costs_at(keys: Int64s, row_keys: Int64s, row_costs: Uint8s) -> Uint64s:
    """Costs of keys; what is in no row has frequency 1."""
    costs = np.full(len(keys), MAX_COST, np.uint64)
    places = np.minimum(np.searchsorted(row_keys, keys), len(row_keys) - 1)
    is_in_row = row_keys[places] == keys
    costs[is_in_row] = row_costs[places[is_in_row]]
    return costs


def _others(num_nodes: int, keys: Int64s, costs: Uint8s) -> tuple[Uint64s, Uint16s]:
    """Where each node's entries start, uint64 ``[n]``, and the entries."""
    nodes, row_bytes = np.divmod(keys, BYTE_COUNT)
    starts = np.searchsorted(nodes, np.arange(num_nodes + 1))
    bases = place_edges(starts, row_bytes.astype(np.uint8))[0].astype(np.uint64)
    # Nodes without entries share a stretch that nobody else reads.
    is_empty = starts[1:] == starts[:-1]
    nowhere = int(bases[~is_empty].max(initial=0)) + BYTE_COUNT
    bases[is_empty] = nowhere
    if nowhere >= 1 << _OTHER_BITS:
        raise UsageError(
            f"an automaton of {num_nodes} nodes is too large for the automaton's own "
            "boundary rule at these thresholds; take the entropy rule"
        )
    entries = np.full(nowhere + BYTE_COUNT, MAX_COST, np.uint16)
    entries[bases[nodes].astype(np.int64) + row_bytes] = row_bytes << 8 | costs
    return bases, entries


@compiled
def walk_costs(
    raw: Uint8s,
    document_ends: Int64s,
    slots: Uint32s,
    first: Uint32s,
    nodes: Int64s,
    rows: tuple[Any, ...],
    frequency_costs: Uint8s,
    limits: tuple[int, int],
) -> Int32s:
    """The cost of every byte in the walk that cuts at ``limits``: int32 ``[n]``.

    Args:
        raw: uint8 ``[n]``.
        document_ends: int64 ``[d]``, ascending, the last one ``n``.
        slots, first: edges (``Transitions``).
        nodes: int64, by base: the node's number.
        rows: where each node's row starts, its bytes and their frequencies (``Automaton``).
        frequency_costs: ``COSTS``; as an argument it is no constant of every compiled caller.
        limits: thresholds of cost and jump.
    """
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
            # The root's base is not asked for: its children stand in ``first``.
            if node == ROOT or is_cut or slot & _PLAIN_LABELS != np.uint64(byte):
                base = np.uint64(first[byte])
            else:
                base = slot >> _PLAIN_BASE_SHIFT
            if is_cut:
                start = place
            node = nodes[base]
        position = end
    return costs


@compiled
def cut_and_code(
    raw: Uint8s, document_ends: Int64s, table: tuple[Any, ...], limits: tuple[int, int]
) -> tuple[Uint32s, Uint32s, Uint32s]:
    """Cut documents, none of them empty, and code their segments.

    Args:
        raw: uint8 ``[n]``.
        document_ends: int64 ``[d]``, ascending, the last one ``n``.
        table: a ``CuttingTable``, of the same limits.
        limits: thresholds of cost and jump.

    Returns:
        Codes of windows, uint32 ``[w]``; lengths of segments and their windows, uint32 ``[s]``.
    """
    slots, others, first, first_costs, codes = table
    cost_limit, jump_limit = limits
    # A byte starts at most one window, and a window at most one segment.
    found, lengths = np.empty(len(raw), np.uint32), np.empty(len(raw), np.uint32)
    window_ends = np.empty(len(raw), np.uint32)
    # All indices are uint64: numba wraps a signed one around at 0, which costs a branch each.
    num_windows, num_segments, position = np.uint64(0), np.uint64(0), np.uint64(0)
    for document_end in document_ends:
        end = np.uint64(document_end)
        state, cost = first[raw[position]], first_costs[raw[position]]
        start: Uint64 = position
        for place in range(position + np.uint64(1), end):
            byte = np.uint64(raw[place])
            edge = state & _EDGES
            slot = slots[edge + byte]
            # Both criteria in one comparison: cost > t_cost, or cost - before > t_jump.
            limit = min(cost_limit, cost + jump_limit)
            is_cut = place - start == np.uint64(MAX_SEGMENT_BYTES)
            if slot & _LABELS == byte:
                cost = np.int64((slot >> _COST_SHIFT) & _COSTS)
                if cost <= limit and not is_cut:
                    # By far the most frequent case: the window goes on, nothing is written.
                    state = slot >> _STATE_SHIFT
                    continue
                is_cut = True
            else:
                # The window is full; the segment ends only where the byte is a surprise as well.
                other = np.int64(others[(state >> _OTHER_SHIFT) + byte])
                cost = other & MAX_COST if other >> 8 == np.int64(byte) else MAX_COST
                is_cut |= cost > limit
            found[num_windows] = codes[edge]
            num_windows += np.uint64(1)
            if is_cut:
                lengths[num_segments] = place - start
                window_ends[num_segments] = num_windows
                num_segments += np.uint64(1)
                start = place
            state = first[byte]
        found[num_windows] = codes[state & _EDGES]
        num_windows += np.uint64(1)
        lengths[num_segments] = end - start
        window_ends[num_segments] = num_windows
        num_segments += np.uint64(1)
        position = end
    # From how many windows end with a segment to how many it has, backwards in place.
    for index in range(np.int64(num_segments) - 1, 0, -1):
        window_ends[index] -= window_ends[index - 1]
    return found[:num_windows], lengths[:num_segments], window_ends[:num_segments]
