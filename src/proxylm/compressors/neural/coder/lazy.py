"""The trie grown as it is met, for windows that do not enumerate: 32 bits, or none at all.

A node is a string that some window began with, and has the frequencies of what follows it. A walk
that comes to a string without a node stops; the LM is asked for all such strings together, a
little ahead, and the walks go on. What is met again costs a lookup per byte. When the nodes'
memory is full, all are forgotten and the walks start their windows again: results stay the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.compiled import Int64, Record, Uint64
from proxylm.compressors.neural.byte_lm.distribution import ByteDistribution
from proxylm.compressors.neural.coder.batched import ROWS_PER_CALL
from proxylm.compressors.neural.coder.compiled import compiled, inlined
from proxylm.compressors.neural.coder.engine import CodedSegments, Engine, symbols_of_windows
from proxylm.compressors.neural.coder.frequencies import TOTAL, Frequencies, FrequencySource
from proxylm.compressors.neural.coder.settings import (
    MAX_SEGMENT_BYTES,
    MAX_WINDOW_BYTES,
    CoderSettings,
)
from proxylm.compressors.neural.coder.windows import SegmentWindow, window_of
from proxylm.compressors.neural.coder.words import START_WIDTH, WORD, code_of, fits, share
from proxylm.symbols import BYTE_COUNT

MEMORY_LIMIT_BYTES = 1 << 29
"""Memory of the nodes of one engine."""

NODE_BYTES = 2 * BYTE_COUNT + 2 * 16
"""Of one node: its cumulative frequencies, and two entries of the table that finds it."""

SMALLEST_CAPACITY = 2 * MAX_SEGMENT_BYTES
WALKS_AT_ONCE = 1 << 14
"""Segments whose walks are kept at a time."""

ROOT = 0
NO_NODE = -1

_HASH_FACTOR = WORD(0x9E3779B97F4A7C15)
_HASH_SHIFT = WORD(20)


class Trie:
    """Strings met so far, up to a fixed number; the empty one is always among them.

    Attributes:
        cumulative: uint16 ``[capacity, 256]``, frequencies of all lower bytes after each string.
        keys: uint64, ``256 · node + byte + 1`` of an edge, or 0; a table with open addressing.
        children: int32, the edge's child.
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

    def add(self, string: NDArray[np.uint8], rows: Frequencies) -> None:
        """Make nodes of all prefixes of a string; ``rows`` are uint32 ``[len + 1, 256]``."""
        self.count = add_path(
            self.keys, self.children, self.cumulative, self.count, string, _cumulative(rows)
        )


def _cumulative(rows: Frequencies) -> NDArray[np.uint16]:
    # The total of all lower bytes is below 2^16: the highest byte has a frequency, too.
    return (rows.cumsum(axis=1) - rows).astype(np.uint16)


class LazyEngine(Engine):
    """Codes segments by a trie that remembers what was met, across calls.

    Args:
        distribution: the byte LM.
        settings: of the coder.
        memory_limit_bytes: of the trie.

    Raises:
        ValueError: the limit has no room for the strings of one segment.
    """

    name = "lazy"

    def __init__(
        self,
        distribution: ByteDistribution,
        settings: CoderSettings,
        *,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
    ) -> None:
        capacity = memory_limit_bytes // NODE_BYTES
        if capacity < SMALLEST_CAPACITY:
            smallest = SMALLEST_CAPACITY * NODE_BYTES
            raise ValueError(f"memory_limit_bytes {memory_limit_bytes} is below {smallest}")
        self.settings = settings
        self._window = window_of(settings)
        self._frequencies = FrequencySource(distribution, settings.window_bits)
        self._trie = Trie(self._frequencies.rows_after([b""])[0], capacity)
        self._lock = Lock()

    def _code(self, raw: NDArray[np.uint8], lengths: NDArray[np.uint32]) -> CodedSegments:
        raw = np.ascontiguousarray(raw)
        ends = np.cumsum(lengths, dtype=np.int64)
        parts = []
        with self._lock:
            for start in range(0, len(lengths), WALKS_AT_ONCE):
                some = slice(start, start + WALKS_AT_ONCE)
                parts.append(self._code_some(raw, ends[some], lengths[some]))
        return CodedSegments.joined(symbols for part in parts for symbols in part.split())

    def _code_some(
        self, raw: NDArray[np.uint8], ends: NDArray[np.int64], lengths: NDArray[np.uint32]
    ) -> CodedSegments:
        first, last = (int(ends[0] - lengths[0]), int(ends[-1])) if len(ends) else (0, 0)
        walks = _new_walks(ends - first, lengths)
        written = _Written.of(last - first)
        self._walk(raw[first:last], walks, written)
        if isinstance(self._window, SegmentWindow):
            paths = np.split(written.path, walks["end"][:-1])
            intervals = (self._window.interval_of(path.tolist()) for path in paths if len(path))
            symbols = iter([self._window.symbols(interval) for interval in intervals])
            return CodedSegments.joined(next(symbols) if len(path) else [] for path in paths)
        windows = written.codes[written.starts_window]
        return symbols_of_windows(self.settings, windows, walks["num_windows"].astype(np.uint32))

    def _walk(self, raw: NDArray[np.uint8], walks: NDArray[np.void], written: _Written) -> None:
        """Walk all segments to their ends, asking the LM for what the trie has not met."""
        trie, settings = self._trie, self.settings
        active = np.flatnonzero(walks["position"] < walks["end"])
        bits, shortest = settings.window_bits or 0, settings.termination.shortest
        while True:
            active = walk_on(walks, active, raw, trie.tables(), bits, shortest, written.tables())
            if not len(active):
                return
            strings = self._missing(raw, walks, active)
            if not strings:
                trie.forget()
                restart_windows(walks, active)
                continue
            for string, rows in zip(strings, self._frequencies.rows(strings), strict=True):
                trie.add(np.frombuffer(string, np.uint8), rows)

    def _missing(
        self, raw: NDArray[np.uint8], walks: NDArray[np.void], active: NDArray[np.int64]
    ) -> list[bytes]:
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


def _new_walks(ends: NDArray[np.int64], lengths: NDArray[np.uint32]) -> NDArray[np.void]:
    walks = np.zeros(len(ends), WALK_DTYPE)
    walks["end"] = ends
    walks["position"] = walks["window_start"] = ends - lengths
    walks["width"] = START_WIDTH
    return walks


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """What walks write: at a window's first byte, or at the byte that is read.

    Attributes:
        starts_window: bool ``[n]``, whether a finished window starts there.
        codes: uint64 ``[n]``, and its code.
        path: uint32 ``[n, 2]``, cumulative frequency and frequency of each byte.
    """

    starts_window: NDArray[np.bool_]
    codes: NDArray[np.uint64]
    path: NDArray[np.uint32]

    @classmethod
    def of(cls, num_bytes: int) -> _Written:
        return cls(
            starts_window=np.zeros(num_bytes, np.bool_),
            codes=np.empty(num_bytes, np.uint64),
            path=np.empty((num_bytes, 2), np.uint32),
        )

    def tables(self) -> tuple[NDArray[np.bool_], NDArray[np.uint64], NDArray[np.uint32]]:
        return self.starts_window, self.codes, self.path


@compiled
def walk_on(
    walks: NDArray[np.void],
    active: NDArray[np.int64],
    raw: NDArray[np.uint8],
    trie: tuple[Any, ...],
    window_bits: int,
    shortest: bool,
    written: tuple[Any, ...],
) -> NDArray[np.int64]:
    """Walk on until each segment ends or comes to a string that has no node; returns the latter.

    Without windows (``window_bits`` 0) a walk only writes the path down.
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
    raw: NDArray[np.uint8],
    trie: tuple[Any, ...],
    window_bits: int,
    shortest: bool,
    written: tuple[Any, ...],
) -> bool:
    """Whether the walk came to its segment's end."""
    keys, children, cumulative = trie
    starts_window, codes, path = written
    if walk.node == NO_NODE:
        walk.node = _follow(keys, children, raw[walk.window_start : walk.position])
    while walk.node != NO_NODE:
        byte = raw[walk.position]
        below, frequency = _frequency(cumulative[walk.node], byte)
        path[walk.position, 0], path[walk.position, 1] = below, frequency
        low = walk.low + share(walk.width, WORD(below))
        width = share(walk.width, WORD(frequency))
        is_full = walk.position - walk.window_start == MAX_WINDOW_BYTES
        if window_bits and (is_full or not fits(low, width, window_bits, shortest)):
            _end_window(walk, window_bits, shortest, starts_window, codes)
            continue
        if window_bits:
            walk.low, walk.width = low, width
        walk.position += 1
        if walk.position == walk.end:
            if window_bits:
                _end_window(walk, window_bits, shortest, starts_window, codes)
            return True
        walk.node = _child(keys, children, walk.node, byte)
    walk.reached = max(walk.reached, walk.position)
    return False


@inlined
def _end_window(
    walk: Record,
    window_bits: int,
    shortest: bool,
    starts_window: NDArray[np.bool_],
    codes: NDArray[np.uint64],
) -> None:
    codes[walk.window_start] = code_of(walk.low, walk.width, window_bits, shortest)
    starts_window[walk.window_start] = True
    walk.num_windows += 1
    _start_window(walk, walk.position)


@inlined
def _start_window(walk: Record, position: int) -> None:
    walk.position = walk.window_start = position
    walk.node, walk.low, walk.width = ROOT, WORD(0), START_WIDTH


@compiled
def restart_windows(walks: NDArray[np.void], active: NDArray[np.int64]) -> None:
    """Send walks back to where their windows start."""
    for index in active:
        _start_window(walks[index], walks[index].window_start)


@inlined
def _frequency(cumulative: NDArray[np.uint16], byte: int) -> tuple[Int64, Int64]:
    below = np.int64(cumulative[byte])
    upper = np.int64(cumulative[byte + 1]) if byte + 1 < BYTE_COUNT else TOTAL
    return below, upper - below


@inlined
def _place(keys: NDArray[np.uint64], key: Uint64) -> Uint64:
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
def _child(keys: NDArray[np.uint64], children: NDArray[np.int32], node: Int64, byte: int) -> Int64:
    place = _place(keys, _key(node, byte))
    return np.int64(children[place]) if keys[place] else NO_NODE


@inlined
def _follow(
    keys: NDArray[np.uint64], children: NDArray[np.int32], string: NDArray[np.uint8]
) -> int:
    """The node of a string, or ``NO_NODE``."""
    node: Int64 = ROOT
    for byte in string:
        node = _child(keys, children, node, byte)
        if node == NO_NODE:
            break
    return node


@compiled
def add_path(
    keys: NDArray[np.uint64],
    children: NDArray[np.int32],
    cumulative: NDArray[np.uint16],
    count: int,
    string: NDArray[np.uint8],
    rows: NDArray[np.uint16],
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
