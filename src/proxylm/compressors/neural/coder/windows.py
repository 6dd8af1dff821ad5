"""What one code covers: a window of at most ``B`` bits, or a whole segment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from proxylm.compressors.neural.coder.frequencies import TOTAL_BITS
from proxylm.compressors.neural.coder.interval import WINDOW_SCALE_BITS, Bits, Interval
from proxylm.compressors.neural.coder.settings import (
    MAX_SEGMENT_BYTES,
    MAX_WINDOW_BYTES,
    CoderSettings,
)

BITS_PER_EXPECTED_BYTE = 2
"""Text takes more bits than this per byte, so most windows are shorter than their bits by it."""


class CodeWindow(ABC):
    """Grows byte by byte from the empty string as long as the next one fits.

    Attributes:
        max_bytes: it holds no more.
        expected_bytes: worth computing ahead: most windows hold no more.
        start: the interval of the empty string.
    """

    max_bytes: int
    expected_bytes: int
    start: Interval

    def __init__(self, settings: CoderSettings) -> None:
        self.termination = settings.termination
        self.pack_bits = settings.pack_bits

    @abstractmethod
    def extended(self, interval: Interval, cumulative: int, frequency: int) -> Interval | None:
        """The interval with one more byte, or None where that no longer fits."""

    @abstractmethod
    def symbols(self, interval: Interval) -> list[int]:
        """The code of what the window holds, in symbols."""


class BitWindow(CodeWindow):
    """The longest prefix whose bits fit in ``window_bits``, at most 256 bytes."""

    max_bytes = MAX_WINDOW_BYTES
    start = Interval(low=0, width=1 << WINDOW_SCALE_BITS, scale_bits=WINDOW_SCALE_BITS)

    def __init__(self, settings: CoderSettings, window_bits: int) -> None:
        super().__init__(settings)
        self._window_bits = window_bits
        self.expected_bytes = window_bits // BITS_PER_EXPECTED_BYTE

    def extended(self, interval: Interval, cumulative: int, frequency: int) -> Interval | None:
        """See the base class."""
        longer = interval.narrowed(cumulative, frequency)
        if longer.width == 0 or self.termination.bits_needed(longer) > self._window_bits:
            return None
        return longer

    def symbols(self, interval: Interval) -> list[int]:
        """See the base class; the code is padded to ``window_bits``."""
        return packed(self.termination.code(interval).padded(self._window_bits), self.pack_bits)


class SegmentWindow(CodeWindow):
    """All of a segment, on unbounded integers; its bits are padded once, at the end."""

    max_bytes = expected_bytes = MAX_SEGMENT_BYTES
    start = Interval(low=0, width=1, scale_bits=0)

    def extended(self, interval: Interval, cumulative: int, frequency: int) -> Interval:
        """See the base class; everything fits."""
        return self.interval_of([(cumulative, frequency)], interval)

    def interval_of(self, path: Iterable[tuple[int, int]], start: Interval = start) -> Interval:
        """Extended by all bytes of a path, from their (cumulative frequency, frequency)."""
        low, width, scale_bits = start.low, start.width, start.scale_bits
        for cumulative, frequency in path:
            low = (low << TOTAL_BITS) + width * cumulative
            width *= frequency
            scale_bits += TOTAL_BITS
        return Interval(low=low, width=width, scale_bits=scale_bits)

    def symbols(self, interval: Interval) -> list[int]:
        """See the base class; the code is padded to whole symbols, at least one."""
        bits = self.termination.code(interval)
        count = max(1, -(-bits.length // self.pack_bits))
        return packed(bits.padded(count * self.pack_bits), self.pack_bits)


def window_of(settings: CoderSettings) -> CodeWindow:
    """The window that the settings choose."""
    if settings.window_bits is None:
        return SegmentWindow(settings)
    return BitWindow(settings, settings.window_bits)


def packed(bits: Bits, pack_bits: int) -> list[int]:
    """Bits in symbols of ``pack_bits``, the most significant first.

    >>> packed(Bits(value=0xABCD, length=16), 8) == [0xAB, 0xCD]
    True
    """
    mask = (1 << pack_bits) - 1
    return [bits.value >> shift & mask for shift in range(bits.length - pack_bits, -1, -pack_bits)]
