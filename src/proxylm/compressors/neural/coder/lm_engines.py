"""The engines that ask the byte LM at every window: the definition as it reads, and a fast form.

``NaiveEngine`` makes one LM call per window and is the oracle of the rest. ``BatchedEngine`` codes
segments side by side: each round, one LM call covers the next window of all of them. What limits it
is the LM, on the device where the distribution computes; the integers that follow are those of
``windows``. A segment that is finished makes room for the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.neural.coder.contract import CodedSegments, Engine
from proxylm.compressors.neural.coder.frequencies import (
    ByteDistribution,
    Frequencies,
    FrequencySource,
)
from proxylm.compressors.neural.coder.interval import Interval
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.coder.windows import window_of
from proxylm.groups import in_groups

SIDE_BY_SIDE = 512
"""Segments in one round: enough to fill the LM's batches."""

ROWS_PER_CALL = 1 << 13
"""Rows of frequencies that are kept at a time, of some kilobytes each with their probabilities."""


class LmEngine(Engine):
    """Base of the engines that ask a byte LM; they share frequencies and windows.

    Args:
        distribution: the byte LM.
        settings: of the coder.
    """

    def __init__(self, distribution: ByteDistribution, settings: CoderSettings) -> None:
        self.settings = settings
        self._frequencies = FrequencySource(distribution, settings.window_bits)
        self._window = window_of(settings)


def segments_of(raw: NDArray[np.uint8], lengths: NDArray[np.uint32]) -> list[bytes]:
    """The segments as byte strings."""
    whole = raw.tobytes()
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    return [whole[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]


class NaiveEngine(LmEngine):
    """Codes window after window, segment after segment."""

    name = "naive"

    def _code(self, raw: NDArray[np.uint8], lengths: NDArray[np.uint32]) -> CodedSegments:
        return CodedSegments.of(map(self._code_segment, segments_of(raw, lengths)))

    def _code_segment(self, segment: bytes) -> list[int]:
        symbols: list[int] = []
        position = 0
        while position < len(segment):
            ahead = segment[position : position + self._window.max_bytes]
            num_bytes, interval = self._longest(ahead)
            symbols += self._window.symbols(interval)
            position += num_bytes
        return symbols

    def _longest(self, ahead: bytes) -> tuple[int, Interval]:
        """Bytes of the longest prefix that fits, and its interval."""
        [rows] = self._frequencies.rows([ahead])
        interval = self._window.start
        for num_bytes, byte in enumerate(ahead):
            row = rows[num_bytes].tolist()
            longer = self._window.extended(interval, sum(row[:byte]), row[byte])
            if longer is None:
                return num_bytes, interval
            interval = longer
        return len(ahead), interval


@dataclass(slots=True)
class _Cursor:
    """Where one segment stands: its next window's start, and how far ahead that is computed."""

    segment: bytes
    reach: int
    position: int = 0
    symbols: list[int] = field(default_factory=list)

    @property
    def ahead(self) -> bytes:
        """What the next call covers."""
        return self.segment[self.position : self.position + self.reach]


class BatchedEngine(LmEngine):
    """Codes many segments at a time, window by window."""

    name = "batched"

    def _code(self, raw: NDArray[np.uint8], lengths: NDArray[np.uint32]) -> CodedSegments:
        reach = self._window.expected_bytes
        everything = [_Cursor(segment, reach) for segment in segments_of(raw, lengths)]
        waiting = (one for one in everything if one.segment)
        active = list(islice(waiting, SIDE_BY_SIDE))
        while active:
            for group in in_groups(active, lambda one: len(one.ahead) + 1, ROWS_PER_CALL):
                rows_of_each = self._frequencies.rows([one.ahead for one in group])
                for one, rows in zip(group, rows_of_each, strict=True):
                    self._take_window(one, rows)
            active = [one for one in active if one.position < len(one.segment)]
            active += islice(waiting, SIDE_BY_SIDE - len(active))
        return CodedSegments.of(one.symbols for one in everything)

    def _take_window(self, one: _Cursor, rows: Frequencies) -> None:
        """Emit the next window, or look further ahead where it may go on behind ``ahead``."""
        ahead = one.ahead
        interval, num_bytes = self._window.start, 0
        for cumulative, frequency in path_frequencies(rows, ahead).tolist():
            longer = self._window.extended(interval, cumulative, frequency)
            if longer is None:
                break
            interval = longer
            num_bytes += 1
        is_segment_end = one.position + num_bytes == len(one.segment)
        if num_bytes == len(ahead) < self._window.max_bytes and not is_segment_end:
            one.reach = min(2 * one.reach, self._window.max_bytes)
            return
        one.symbols += self._window.symbols(interval)
        one.position += num_bytes
        one.reach = self._window.expected_bytes


def path_frequencies(rows: Frequencies, string: bytes) -> NDArray[np.int64]:
    """Cumulative frequency and frequency of each byte of a string: int64 ``[len, 2]``.

    Args:
        rows: uint32 ``[len + 1, 256]``, what follows each of its prefixes.
        string: the bytes.
    """
    positions, taken = np.arange(len(string)), np.frombuffer(string, np.uint8)
    up_to = rows[:-1].cumsum(axis=1, dtype=np.int64)[positions, taken]
    own = rows[positions, taken].astype(np.int64)
    return np.stack([up_to - own, own], axis=1)
