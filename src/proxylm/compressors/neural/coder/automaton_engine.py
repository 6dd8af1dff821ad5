"""Coding as a walk through the automaton: one lookup per byte, integers alone.

A byte follows its node's edge, or ends the window there and starts the next one at the root's
child. The start of a segment is a byte without an edge (``SEGMENT_START``), so ends of windows and
of segments are one case and the loop has no branch to guess. What a window emits is written down
as its node's base; codes are looked up in a second pass over the few windows.

A lookup waits for the one before it. Four stretches of segments are therefore walked at once.

The words, beside the slots of ``transitions``:

- A *mark*, uint16: a byte, plus 256 where it starts a segment.
- A *record*, uint32, of a window: the base of its node (31 bits), and the highest bit where it is
  the last of its segment.
- A *lane* is one of the four stretches of a block. It writes one record before its own windows (it
  starts with a segment, which ends what was before it) and one behind them: their room in
  ``records`` is the lane's bytes and ``LANE_GAP``.
"""

from __future__ import annotations

import numpy as np

from proxylm.compiled import Int64, Int64s, Uint8s, Uint16s, Uint32s, Uint64
from proxylm.compressors.neural.coder.automaton import Automaton
from proxylm.compressors.neural.coder.compiled import compiled, inlined
from proxylm.compressors.neural.coder.contract import CodedSegments, Engine, symbols_of_windows
from proxylm.compressors.neural.coder.settings import MAX_SEGMENT_BYTES
from proxylm.compressors.neural.coder.transitions import (
    LABEL_BITS,
    SEGMENT_START,
    transitions_of,
)

BLOCK_BYTES = 1 << 16
"""Bytes whose marks and windows are kept at a time: they stay in a core's cache."""

LANES = 4
LANE_GAP = 2
"""A lane writes up to so many records more than it has bytes."""

SEGMENT_END = 1 << 31
"""Bit of a window's record that ends its segment."""

_LABELS = np.uint64((1 << LABEL_BITS) - 1)
_LABEL_BITS = np.uint64(LABEL_BITS)
_MARK = np.uint64(SEGMENT_START)
_END_SHIFT = np.uint32(SEGMENT_END.bit_length() - 1)
_MARK_TO_END = np.uint64(SEGMENT_END.bit_length() - SEGMENT_START.bit_length())
_BASES = np.uint32(SEGMENT_END - 1)


class AutomatonEngine(Engine):
    """Codes segments by an automaton alone; no byte LM is needed."""

    name = "automaton"

    def __init__(self, automaton: Automaton) -> None:
        self.automaton = automaton
        self.settings = automaton.settings
        self.transitions = transitions_of(automaton)
        self._codes = self.transitions.by_base(automaton.codes)

    def _code(self, raw: Uint8s, lengths: Uint32s) -> CodedSegments:
        filled = lengths > 0
        edges = self.transitions.slots, self.transitions.first
        windows, windows_per_segment = code_windows(
            np.ascontiguousarray(raw), lengths[filled], *edges, self._codes
        )
        counts = np.zeros(len(lengths), np.uint32)
        counts[filled] = windows_per_segment
        return symbols_of_windows(self.settings, windows, counts)


@compiled
def code_windows(
    raw: Uint8s, lengths: Uint32s, slots: Uint32s, first: Uint32s, codes: Uint32s
) -> tuple[Uint32s, Uint32s]:
    """Walk through segments.

    Args:
        raw: uint8 ``[n]``.
        lengths: uint32 ``[s]``, none 0, of sum ``n``.
        slots, first: edges (``Transitions``).
        codes: uint32, by base.

    Returns:
        Codes of windows, uint32 ``[w]``, and how many each segment has, uint32 ``[s]``.
    """
    windows = np.empty(len(raw), np.uint32)
    ends = np.empty(len(lengths) + 1, np.uint32)
    marked = np.empty(BLOCK_BYTES + MAX_SEGMENT_BYTES, np.uint16)
    records = np.empty(len(marked) + LANE_GAP * LANES, np.uint32)
    lanes = np.empty(LANES + 1, np.int64)
    counts = np.empty(LANES, np.int64)
    num_windows, segments_done = np.uint64(0), np.uint64(0)
    position: Int64 = 0
    segment: Int64 = 0
    while segment < len(lengths):
        segment, num_bytes = _mark_block(raw, lengths, position, segment, marked, lanes)
        _walk(marked, lanes, slots, first, records, counts)
        position += num_bytes
        for lane in range(LANES):
            # The first record is of what was before the lane, which is nothing.
            start = lanes[lane] + LANE_GAP * lane + 1
            for record in records[start : start + counts[lane]]:
                windows[num_windows] = codes[record & _BASES]
                num_windows += np.uint64(1)
                # Written at every window, kept at a segment's last: no branch.
                ends[segments_done] = num_windows
                segments_done += np.uint64(record >> _END_SHIFT)
    # From how many windows end with a segment to how many it has, backwards in place.
    for index in range(len(lengths) - 1, 0, -1):
        ends[index] -= ends[index - 1]
    return windows[:num_windows], ends[: len(lengths)]


@inlined
def _mark_block(
    raw: Uint8s, lengths: Uint32s, position: Int64, segment: Int64, marked: Uint16s, lanes: Int64s
) -> tuple[Int64, Int64]:
    """Copy the next segments, mark their starts, and choose where lanes begin.

    Returns:
        The first segment of the next block, and the bytes of this one.
    """
    first_segment, lane = segment, 0
    num_bytes: Int64 = 0
    while segment < len(lengths) and num_bytes < BLOCK_BYTES:
        if num_bytes * LANES >= lane * BLOCK_BYTES:
            lanes[lane] = num_bytes
            lane += 1
        num_bytes += np.int64(lengths[segment])
        segment += 1
    lanes[lane:] = num_bytes
    block = raw[position : position + num_bytes]
    for place in range(num_bytes):
        marked[place] = block[place]
    start = np.uint64(0)
    for length in lengths[first_segment:segment]:
        marked[start] |= np.uint16(SEGMENT_START)
        start += np.uint64(length)
    return segment, num_bytes


@compiled
def _walk(
    marked: Uint16s, lanes: Int64s, slots: Uint32s, first: Uint32s, records: Uint32s, counts: Int64s
) -> None:
    """Walk each lane's bytes; records the base of every node that emits.

    As long as all lanes have bytes they take turns, in variables of their own: an array of four
    would be read and written in memory at every byte.
    """
    steps = lanes[1] - lanes[0]
    for lane in range(1, LANES):
        steps = min(steps, lanes[lane + 1] - lanes[lane])
    base0: Uint64 = np.uint64(0)
    base1 = base2 = base3 = base0
    from0, from1 = np.uint64(lanes[0]), np.uint64(lanes[1])
    from2, from3 = np.uint64(lanes[2]), np.uint64(lanes[3])
    at0, at1 = from0, from1 + np.uint64(LANE_GAP)
    at2, at3 = from2 + np.uint64(2 * LANE_GAP), from3 + np.uint64(3 * LANE_GAP)
    for step in range(np.uint64(steps)):
        base0, at0 = _follow(marked[from0 + step], base0, at0, slots, first, records)
        base1, at1 = _follow(marked[from1 + step], base1, at1, slots, first, records)
        base2, at2 = _follow(marked[from2 + step], base2, at2, slots, first, records)
        base3, at3 = _follow(marked[from3 + step], base3, at3, slots, first, records)
    for lane in range(LANES):
        base = (base0, base1, base2, base3)[lane]
        at = (at0, at1, at2, at3)[lane]
        for place in range(lanes[lane] + steps, lanes[lane + 1]):
            base, at = _follow(marked[place], base, at, slots, first, records)
        records[at] = base | np.uint64(SEGMENT_END)
        counts[lane] = np.int64(at) - lanes[lane] - LANE_GAP * lane


@inlined
def _follow(
    byte: int, base: Uint64, at: Uint64, slots: Uint32s, first: Uint32s, records: Uint32s
) -> tuple[Uint64, Uint64]:
    """One byte: the next base, and where the next record goes.

    The record is written at every byte and stays where the window ended: no branch to guess.
    """
    mark = np.uint64(byte)
    slot = np.uint64(slots[base + mark])
    after_end = np.uint64(first[mark])
    records[at] = np.uint32(base | (mark & _MARK) << _MARK_TO_END)
    if slot & _LABELS == mark:
        return slot >> _LABEL_BITS, at
    return after_end, at + np.uint64(1)
