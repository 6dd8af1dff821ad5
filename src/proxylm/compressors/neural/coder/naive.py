"""The definition as it reads: one LM call per window, Python's integers. The oracle of the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.neural.coder.contract import CodedSegments
from proxylm.compressors.neural.coder.interval import Interval
from proxylm.compressors.neural.coder.lm_engine import LmEngine, segments_of


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
