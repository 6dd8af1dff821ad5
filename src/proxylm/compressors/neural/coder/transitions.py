"""The trie's edges in one narrow array, so that the part in use stays in a core's own cache.

A double array: every node has a number of its own, its *base*, and its edge for byte ``x`` stands
in slot ``base + x`` with the byte itself (so that another node's edge is told apart) and the base
of the child. A node's base is its name: nothing else is looked up on the way. Slots hold 4 bytes
where a table of nodes times 256 would hold a kilobyte per node. Bases are given from the most
probable node down, lowest first, which keeps neighbours in the trie and in use close together.

A *slot* is a uint32, from the lowest bit up: the edge's byte (10 bits; all ones where there is no
edge), the child's base (22). A *mark* is a byte, plus 256 where it starts a segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from proxylm.compiled import Int64, Int64s, Uint8s, Uint32s, Uint64, Uint64s
from proxylm.compressors.neural.coder.automaton import ROOT, Automaton
from proxylm.compressors.neural.coder.compiled import compiled, inlined
from proxylm.compressors.neural.flat_documents import starts_of
from proxylm.symbols import BYTE_COUNT

LABEL_BITS = 10
"""A slot's low bits: the edge's byte. Twice as wide as a byte needs, for the marks below."""

SEGMENT_START = 1 << 8
"""Added to a byte that starts a segment: no edge has it, so the window before it ends."""

NO_EDGE = (1 << LABEL_BITS) - 1
"""Label of a slot without an edge: neither a byte nor one that starts a segment."""

WORD_BITS = 64
"""Of the bit sets that the search for room reads."""
_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)

MAX_BASES = 1 << (32 - LABEL_BITS)

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transitions:
    """Edges of an automaton of ``n`` nodes, for bytes with and without ``SEGMENT_START``.

    Attributes:
        slots: uint32 ``[slots]``, the edges.
        bases: uint32 ``[n]``, the base of every node.
        first: uint32 ``[512]``, the base of the root's child by byte, with or without the mark.
    """

    slots: Uint32s
    bases: Uint32s
    first: Uint32s

    def by_base(self, values: NDArray[Value]) -> NDArray[Value]:
        """Values of nodes ``[n, ...]``, reordered so that a node's base finds its own."""
        found = np.zeros((int(self.bases.max()) + 1, *values.shape[1:]), values.dtype)
        found[self.bases] = values
        return found


def transitions_of(automaton: Automaton) -> Transitions:
    """Lay out an automaton's edges."""
    num_nodes = len(automaton)
    children = np.argsort(automaton.parents[1:], kind="stable").astype(np.int64) + 1
    counts = np.bincount(automaton.parents[1:], minlength=num_nodes)
    starts = starts_of(counts)
    bases, num_slots = place_edges(starts, automaton.labels[children])
    assert bases.max() < MAX_BASES, "the limit on nodes leaves room for all bases"
    slots = np.full(num_slots, NO_EDGE, np.uint32)
    of_edges = bases[automaton.parents[children]] + automaton.labels[children]
    slots[of_edges] = bases[children] << LABEL_BITS | automaton.labels[children]
    first = np.zeros(2 * SEGMENT_START, np.uint32)
    of_root = children[starts[ROOT] : starts[ROOT + 1]]
    assert len(of_root) == BYTE_COUNT, "every single byte fits in a window"
    for mark in (0, SEGMENT_START):
        first[automaton.labels[of_root] + np.uint32(mark)] = bases[of_root]
    return Transitions(slots=slots, bases=bases, first=first)


@compiled
def place_edges(starts: Int64s, labels: Uint8s) -> tuple[Uint32s, Int64]:
    """Give nodes bases such that no two edges share a slot.

    The search for room goes on where the last node with as many edges found its own: from the
    lowest gap each time, it would pass the same gaps again and again. It tries 64 bases at once.

    Args:
        starts: int64 ``[n + 1]``; node ``i`` has the edges ``starts[i]:starts[i + 1]``.
        labels: uint8 ``[e]``, their bytes.

    Returns:
        The bases, uint32 ``[n]``, and how many slots are needed.
    """
    num_nodes = len(starts) - 1
    bases = np.zeros(num_nodes, np.uint32)
    num_words = (len(labels) + num_nodes) // WORD_BITS + 16
    slot_taken, base_taken = np.zeros(num_words, np.uint64), np.zeros(num_words, np.uint64)
    search_from = np.zeros(BYTE_COUNT + 1, np.int64)
    for node in range(num_nodes):
        edges = labels[starts[node] : starts[node + 1]]
        if not len(edges):
            continue
        base = search_from[len(edges)]
        free = np.uint64(0)
        while True:
            # The bits of 64 bases, 256 slots further on, lie in two words more.
            if (base + BYTE_COUNT) // WORD_BITS + 3 > len(slot_taken):
                slot_taken = np.append(slot_taken, np.zeros(len(slot_taken), np.uint64))
                base_taken = np.append(base_taken, np.zeros(len(base_taken), np.uint64))
            free = _free_bases(slot_taken, base_taken, base, edges)
            if free:
                break
            base += WORD_BITS
        while not free & _ONE:
            free >>= _ONE
            base += 1
        search_from[len(edges)] = base
        bases[node] = base
        _take(base_taken, base)
        for edge in edges:
            _take(slot_taken, base + np.int64(edge))
    _place_leaves(starts, base_taken, bases)
    # A lookup reaches one byte, marked as a segment's start, beyond the last base.
    return bases, np.int64(bases.max()) + 2 * SEGMENT_START


@inlined
def _bits_from(words: Uint64s, place: Int64) -> Uint64:
    """64 bits of a bit set, the first one lowest."""
    word, shift = place // WORD_BITS, np.uint64(place % WORD_BITS)
    bits = words[word] >> shift
    if shift:  # by 64 a machine would shift by 0
        bits |= words[word + 1] << (np.uint64(WORD_BITS) - shift)
    return bits


@inlined
def _take(words: Uint64s, place: Int64) -> None:
    """Set a bit of a bit set."""
    words[place // WORD_BITS] |= _ONE << np.uint64(place % WORD_BITS)


@inlined
def _free_bases(slot_taken: Uint64s, base_taken: Uint64s, base: Int64, edges: Uint8s) -> Uint64:
    """Which of 64 bases are free and have all slots of the edges free."""
    taken = _bits_from(base_taken, base)
    for edge in edges:
        taken |= _bits_from(slot_taken, base + np.int64(edge))
        if taken == _ALL:
            break
    return ~taken


@inlined
def _place_leaves(starts: Int64s, base_taken: Uint64s, bases: Uint32s) -> None:
    """Nodes without edges take what bases are left, lowest first."""
    base = 0
    for node in range(len(bases)):
        if starts[node] == starts[node + 1]:
            # Behind the end of the set all bases are free.
            while base < WORD_BITS * len(base_taken) - WORD_BITS and (
                _bits_from(base_taken, base) & _ONE
            ):
                base += 1
            bases[node] = base
            base += 1
