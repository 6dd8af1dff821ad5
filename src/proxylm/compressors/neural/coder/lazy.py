"""The trie grown as it is met, for windows that do not enumerate: 32 bits, or none at all.

A node is a string that some window began with, and has the frequencies of what follows it. A walk
that comes to a string without a node stops; the LM is asked for all such strings together, a
little ahead, and the walks go on. What is met again costs a lookup per byte. When the nodes'
memory is full, all are forgotten and the walks start their windows again: results stay the same.

What the kernels read and write:

- A *node* is a number from 0, the root, to the trie's capacity ``c``. Its row of ``cumulative``,
  uint16 ``[c, 256]``, has the frequencies of all lower bytes: two neighbours give a frequency.
- An *edge* is an entry of a hash table of ``t >= 2 c`` entries, a power of 2: its *key*, uint64,
  is ``256 · node + byte + 1``, so that 0 is an entry without an edge; its child is an int32.
- A *walk* (``WALK_DTYPE``) is where one segment stands.
- What is written about a byte (``WRITTEN_DTYPE``) stands at its place in the text.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np

from proxylm.compiled import (
    Int32s,
    Int64,
    Int64s,
    Record,
    Records,
    Uint8s,
    Uint16s,
    Uint32s,
    Uint64,
    Uint64s,
)
from proxylm.compressors.neural.coder.compiled import compiled, inlined
from proxylm.compressors.neural.coder.contract import CodedSegments, symbols_of_windows
from proxylm.compressors.neural.coder.frequencies import TOTAL, ByteDistribution, Frequencies
from proxylm.compressors.neural.coder.lm_engines import ROWS_PER_CALL, LmEngine
from proxylm.compressors.neural.coder.settings import (
    MAX_SEGMENT_BYTES,
    MAX_WINDOW_BYTES,
    CoderSettings,
)
from proxylm.compressors.neural.coder.windows import SegmentWindow
from proxylm.compressors.neural.coder.words import START_WIDTH, WORD, code_of, fits, share
from proxylm.symbols import BYTE_COUNT

MEMORY_LIMIT_BYTES = 1 << 29
"""Memory of the nodes of one engine; there is room for the strings of one segment in any case."""

NODE_BYTES = 2 * BYTE_COUNT + 2 * 16
"""Of one node: its cumulative frequencies, and two entries of the table that finds it."""

SMALLEST_CAPACITY = 2 * MAX_SEGMENT_BYTES
WALKS_AT_ONCE = 1 << 14
"""Segments whose walks are kept at a time."""

ROOT = 0
NO_NODE = -1

_HASH_FACTOR = WORD(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: neighbouring keys are spread evenly."""
_HASH_SHIFT = WORD(20)
"""The product's high bits depend on all of the key; its lowest only on the key's lowest."""


class Trie:
    """Strings met so far, up to a fixed number; the empty one is always among them.

    Attributes:
        cumulative: uint16 ``[c, 256]``, a row a node.
        keys: uint64 ``[t]``, of edges; a table with open addressing.
        children: int32 ``[t]``, what they lead to.
        count: nodes so far.
    """

    def __init__(self, root: Frequencies, capacity: int) -> None:
        self.capacity = capacity
        self.cumulative = np.empty((capacity, BYTE_COUNT), np.uint16)
        self.cumulative[ROOT] = _cumulative(root[None])[0]
        num_entries = 1 << (2 * capacity - 1).bit_length()
        self.keys = np.zeros(num_entries, np.uint64)
        self.children = np.empty(num_entries, np.int32)
        self.count = 1

    def tables(self) -> tuple[Any, ...]:
        """What the kernels read."""
        return self.keys, self.children, self.cumulative

    @property
    def room(self) -> int:
        """Nodes that can still be added."""
        return self.capacity - self.count

    def forget(self) -> None:
        """Drop all nodes but the root."""
        self.keys[:] = 0
        self.count = 1

    def add(self, string: Uint8s, rows: Frequencies) -> None:
        """Make nodes of all prefixes of a string; ``rows`` are uint32 ``[len + 1, 256]``."""
        self.count = add_path(
            self.keys, self.children, self.cumulative, self.count, string, _cumulative(rows)
        )


def _cumulative(rows: Frequencies) -> Uint16s:
    # The total of all lower bytes is below 2^16: the highest byte has a frequency, too.
    return (rows.cumsum(axis=1) - rows).astype(np.uint16)


class LazyEngine(LmEngine):
    """Codes segments by a trie that remembers what was met, across calls.

    Args:
        distribution: the byte LM.
        settings: of the coder.
    """

    name = "lazy"

    def __init__(self, distribution: ByteDistribution, settings: CoderSettings) -> None:
        super().__init__(distribution, settings)
        capacity = max(SMALLEST_CAPACITY, MEMORY_LIMIT_BYTES // NODE_BYTES)
        self._trie = Trie(self._frequencies.rows_after([b""])[0], capacity)
        self._lock = Lock()

    def _code(self, raw: Uint8s, lengths: Uint32s) -> CodedSegments:
        raw = np.ascontiguousarray(raw)
        ends = np.cumsum(lengths, dtype=np.int64)
        parts = []
        with self._lock:
            for start in range(0, len(lengths), WALKS_AT_ONCE):
                some = slice(start, start + WALKS_AT_ONCE)
                stretch = raw[ends[start] - lengths[start] : ends[some][-1]]
                parts.append(self._code_some(stretch, lengths[some]))
        nothing = np.empty(0, np.uint32)
        return CodedSegments(
            symbols=np.concatenate([nothing, *(part.symbols for part in parts)]),
            symbols_per_segment=np.concatenate(
                [nothing, *(part.symbols_per_segment for part in parts)]
            ),
        )

    def _code_some(self, raw: Uint8s, lengths: Uint32s) -> CodedSegments:
        walks, written = _new_walks(lengths), np.zeros(len(raw), WRITTEN_DTYPE)
        self._walk(raw, walks, written)
        if isinstance(self._window, SegmentWindow):
            window = self._window
            paths = np.split(written[["cumulative", "frequency"]], walks["end"][:-1])
            return CodedSegments.of(
                window.symbols(window.interval_of(path.tolist())) if len(path) else []
                for path in paths
            )
        codes = written["code"][written["starts_window"]]
        return symbols_of_windows(self.settings, codes, walks["num_windows"].astype(np.uint32))

    def _walk(self, raw: Uint8s, walks: Records, written: Records) -> None:
        """Walk all segments to their ends, asking the LM for what the trie has not met."""
        trie, settings = self._trie, self.settings
        active = np.flatnonzero(walks["position"] < walks["end"])
        bits, shortest = settings.window_bits or 0, settings.termination.shortest
        while True:
            active = walk_on(walks, active, raw, trie.tables(), bits, shortest, written)
            if not len(active):
                return
            strings = self._missing(raw, walks, active)
            if not strings:
                trie.forget()
                restart_windows(walks, active)
                continue
            for string, rows in zip(strings, self._frequencies.rows(strings), strict=True):
                trie.add(np.frombuffer(string, np.uint8), rows)

    def _missing(self, raw: Uint8s, walks: Records, active: Int64s) -> list[bytes]:
        """Strings to ask the LM for: a little ahead of where walks stopped, as many as fit."""
        strings: dict[bytes, bytes] = {}
        num_rows = 0
        for walk in walks[active]:
            start, stop = int(walk["window_start"]), int(walk["position"])
            missing = raw[start:stop].tobytes()
            if missing in strings:
                continue
            ahead = max(stop, int(walk["reached"])) + self._window.expected_bytes
            string = raw[start : min(ahead, walk["end"], start + self._window.max_bytes)].tobytes()
            num_rows += len(string)
            if num_rows > self._trie.room or (strings and num_rows > ROWS_PER_CALL):
                break
            strings[missing] = string
        return list(strings.values())


WALK_DTYPE = np.dtype(
    [
        ("position", "i8"),  # of the next byte
        ("end", "i8"),  # of the segment
        ("window_start", "i8"),
        ("node", "i8"),  # of the window so far, or NO_NODE where the trie had none
        ("low", "u8"),
        ("width", "u8"),
        ("reached", "i8"),  # the furthest position at which the trie had no node
        ("num_windows", "i8"),
    ]
)
"""Where the walk through one segment stands."""


def _new_walks(lengths: Uint32s) -> Records:
    walks = np.zeros(len(lengths), WALK_DTYPE)
    walks["end"] = np.cumsum(lengths, dtype=np.int64)
    walks["position"] = walks["window_start"] = walks["end"] - lengths
    walks["width"] = START_WIDTH
    return walks


WRITTEN_DTYPE = np.dtype(
    [
        ("cumulative", "u4"),  # frequencies of all lower bytes where this one was read
        ("frequency", "u4"),  # and its own
        ("code", "u8"),  # of the window that starts here
        ("starts_window", "?"),  # whether one does that was finished
    ]
)
"""What walks write about a byte."""


@compiled
def walk_on(
    walks: Records,
    active: Int64s,
    raw: Uint8s,
    trie: tuple[Any, ...],
    window_bits: int,
    shortest: bool,
    written: Records,
) -> Int64s:
    """Walk on until each segment ends or comes to a string that has no node.

    Args:
        walks: ``WALK_DTYPE`` ``[s]``, moved on in place.
        active: int64 ``[a]``, those that have not come to their ends.
        raw: uint8 ``[n]``.
        trie: ``Trie.tables()``.
        window_bits: 0 without windows: a walk then only writes the path down.
        shortest: whether a code is the shortest one inside its interval (``Termination``).
        written: ``WRITTEN_DTYPE`` ``[n]``.

    Returns:
        int64 ``[<= a]``: the walks that stopped at a string without a node.
    """
    stopped = np.empty(len(active), np.int64)
    num_stopped = 0
    for index in active:
        if not _walk_one(walks[index], raw, trie, window_bits, shortest, written):
            stopped[num_stopped] = index
            num_stopped += 1
    return stopped[:num_stopped]


@inlined
def _walk_one(
    walk: Record,
    raw: Uint8s,
    trie: tuple[Any, ...],
    window_bits: int,
    shortest: bool,
    written: Records,
) -> bool:
    """Whether the walk came to its segment's end."""
    keys, children, cumulative = trie
    if walk.node == NO_NODE:
        # The string may have a node since the LM was asked.
        walk.node = ROOT
        for byte in raw[walk.window_start : walk.position]:
            walk.node = _child(keys, children, walk.node, byte)
            if walk.node == NO_NODE:
                break
    while walk.node != NO_NODE:
        byte = raw[walk.position]
        row = cumulative[walk.node]
        below = np.int64(row[byte])
        upper = np.int64(row[byte + 1]) if byte + 1 < BYTE_COUNT else TOTAL
        frequency = upper - below
        written[walk.position].cumulative = below
        written[walk.position].frequency = frequency
        low = walk.low + share(walk.width, WORD(below))
        width = share(walk.width, WORD(frequency))
        is_full = walk.position - walk.window_start == MAX_WINDOW_BYTES
        if window_bits and (is_full or not fits(low, width, window_bits, shortest)):
            # The byte is read again, as the next window's first; it always fits there.
            _end_window(walk, window_bits, shortest, written)
            continue
        if window_bits:
            walk.low, walk.width = low, width
        walk.position += 1
        if walk.position == walk.end:
            if window_bits:
                _end_window(walk, window_bits, shortest, written)
            return True
        walk.node = _child(keys, children, walk.node, byte)
    walk.reached = max(walk.reached, walk.position)
    return False


@inlined
def _end_window(walk: Record, window_bits: int, shortest: bool, written: Records) -> None:
    # By where windows start, their codes stand in order; an unfinished one has written nothing.
    code = code_of(walk.low, walk.width, window_bits, shortest)
    written[walk.window_start].code = code
    written[walk.window_start].starts_window = True
    walk.num_windows += 1
    _start_window(walk, walk.position)


@inlined
def _start_window(walk: Record, position: int) -> None:
    walk.position = walk.window_start = position
    walk.node, walk.low, walk.width = ROOT, WORD(0), START_WIDTH


@compiled
def restart_windows(walks: Records, active: Int64s) -> None:
    """Send walks back to where their windows start."""
    for index in active:
        _start_window(walks[index], walks[index].window_start)


@inlined
def _place(keys: Uint64s, key: Uint64) -> Uint64:
    """Where a key stands, or would stand (multiplicative hashing, linear probing)."""
    mask = WORD(len(keys) - 1)
    place = (key * _HASH_FACTOR >> _HASH_SHIFT) & mask
    while keys[place] != key and keys[place] != WORD(0):
        place = (place + WORD(1)) & mask
    return place


@inlined
def _key(node: int, byte: int) -> Uint64:
    return WORD(node) * WORD(BYTE_COUNT) + WORD(byte) + WORD(1)


@inlined
def _child(keys: Uint64s, children: Int32s, node: Int64, byte: int) -> Int64:
    place = _place(keys, _key(node, byte))
    return np.int64(children[place]) if keys[place] else NO_NODE


@compiled
def add_path(
    keys: Uint64s, children: Int32s, cumulative: Uint16s, count: int, string: Uint8s, rows: Uint16s
) -> int:
    """Add the prefixes of a string that have no node yet; returns the new number of nodes."""
    node: Int64 = ROOT
    for index in range(len(string)):
        key = _key(node, string[index])
        place = _place(keys, key)
        if not keys[place]:
            keys[place], children[place] = key, count
            cumulative[count] = rows[index + 1]
            count += 1
        node = children[place]
    return count
