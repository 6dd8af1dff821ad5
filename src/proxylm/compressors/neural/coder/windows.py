"""What a code covers: a window of at most ``B`` bits, or a whole segment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from proxylm.compressors.neural.coder.frequencies import TOTAL_BITS
from proxylm.compressors.neural.coder.interval import WINDOW_SCALE_BITS, Bits, Interval
from proxylm.compressors.neural.coder.settings import (
    MAX_SEGMENT_BYTES,
    MAX_WINDOW_BYTES,
    CoderSettings,
    DeterminedTermination,
    MinimalTermination,
)

BITS_PER_EXPECTED_BYTE = 2
"""Text takes more bits than this per byte, so most windows are shorter than their bits by it."""


class Window(Protocol):
    """Grows byte by byte from the empty string as long as the next one fits."""

    @property
    def max_bytes(self) -> int:
        """Bytes that it holds at most."""
        ...

    @property
    def expected_bytes(self) -> int:
        """Bytes worth computing ahead: most windows hold no more."""
        ...

    def start(self) -> Interval:
        """The interval of the empty string."""
        ...

    def extended(self, interval: Interval, cumulative: int, frequency: int) -> Interval | None:
        """The interval with one more byte, or None where that no longer fits."""
        ...

    def symbols(self, interval: Interval) -> list[int]:
        """The code of what the window holds."""
        ...


@dataclass(frozen=True, slots=True)
class BitWindow:
    """The longest prefix whose bits fit in ``window_bits``, at most 256 bytes."""

    window_bits: int
    pack_bits: int
    termination: DeterminedTermination | MinimalTermination
    max_bytes: int = MAX_WINDOW_BYTES

    @property
    def expected_bytes(self) -> int:  # noqa: D102 - see Window
        return self.window_bits // BITS_PER_EXPECTED_BYTE

    def start(self) -> Interval:  # noqa: D102 - see Window
        return Interval(low=0, width=1 << WINDOW_SCALE_BITS, scale_bits=WINDOW_SCALE_BITS)

    def extended(  # noqa: D102 - see Window
        self, interval: Interval, cumulative: int, frequency: int
    ) -> Interval | None:
        longer = interval.narrowed(cumulative, frequency)
        if longer.width == 0 or self.termination.bits_needed(longer) > self.window_bits:
            return None
        return longer

    def symbols(self, interval: Interval) -> list[int]:  # noqa: D102 - see Window
        return packed(self.termination.code(interval).padded(self.window_bits), self.pack_bits)


@dataclass(frozen=True, slots=True)
class SegmentWindow:
    """All of a segment, on unbounded integers; its bits are padded once, at the end."""

    pack_bits: int
    termination: DeterminedTermination | MinimalTermination
    max_bytes: int = MAX_SEGMENT_BYTES

    @property
    def expected_bytes(self) -> int:  # noqa: D102 - see Window
        return self.max_bytes

    def start(self) -> Interval:  # noqa: D102 - see Window
        return Interval(low=0, width=1, scale_bits=0)

    def extended(  # noqa: D102 - see Window
        self, interval: Interval, cumulative: int, frequency: int
    ) -> Interval | None:
        return interval.refined().narrowed(cumulative, frequency)

    def interval_of(self, path: Iterable[tuple[int, int]]) -> Interval:
        """``extended`` all along a segment, from (cumulative frequency, frequency) of its bytes."""
        low, width, scale_bits = 0, 1, 0
        for cumulative, frequency in path:
            low = (low << TOTAL_BITS) + width * cumulative
            width *= frequency
            scale_bits += TOTAL_BITS
        return Interval(low=low, width=width, scale_bits=scale_bits)

    def symbols(self, interval: Interval) -> list[int]:  # noqa: D102 - see Window
        bits = self.termination.code(interval)
        count = max(1, -(-bits.length // self.pack_bits))
        return packed(bits.padded(count * self.pack_bits), self.pack_bits)


def window_of(settings: CoderSettings) -> Window:
    """The window that the settings choose."""
    if settings.window_bits is None:
        return SegmentWindow(settings.pack_bits, settings.termination)
    return BitWindow(settings.window_bits, settings.pack_bits, settings.termination)


def packed(bits: Bits, pack_bits: int) -> list[int]:
    """Bits in symbols of ``pack_bits``, the most significant first.

    >>> packed(Bits(value=0xABCD, length=16), 8) == [0xAB, 0xCD]
    True
    """
    mask = (1 << pack_bits) - 1
    return [bits.value >> shift & mask for shift in range(bits.length - pack_bits, -1, -pack_bits)]
