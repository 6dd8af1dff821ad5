"""Segments side by side: each round, one LM call covers the next window of all of them.

What limits it is the LM, on the device where the distribution computes; the integers that follow
are those of ``windows``. A segment that is finished makes room for the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.neural.coder.contract import CodedSegments
from proxylm.compressors.neural.coder.frequencies import Frequencies
from proxylm.compressors.neural.coder.lm_engine import LmEngine, segments_of

SIDE_BY_SIDE = 512
"""Segments in one round: enough to fill the LM's batches."""

ROWS_PER_CALL = 1 << 13
"""Rows of frequencies that are kept at a time, of some kilobytes each with their probabilities."""


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
            for group in _groups(active):
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


def _groups(active: list[_Cursor]) -> Iterator[list[_Cursor]]:
    """What one LM call covers each: its rows of frequencies stay bounded."""
    group: list[_Cursor] = []
    num_rows = 0
    for one in active:
        num_more = len(one.ahead) + 1
        if group and num_rows + num_more > ROWS_PER_CALL:
            yield group
            group, num_rows = [], 0
        group.append(one)
        num_rows += num_more
    yield group


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
