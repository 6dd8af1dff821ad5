"""The recurrence that defines every code, in Python's integers.

An interval ``[low, low + width)`` of numbers below ``2^scale_bits`` starts as all of them. A byte
with cumulative frequency ``c`` and frequency ``f`` narrows it to
``low + ⌊width · c / 2^16⌋`` and ``⌊width · f / 2^16⌋``. Inside a window the scale is 2^48 and never
changes. Without windows nothing is rounded: the scale first grows by 16 bits, so the same
formulas are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxylm.compressors.neural.coder.frequencies import TOTAL_BITS

WINDOW_SCALE_BITS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Numbers ``low … low + width − 1`` of ``2^scale_bits``; a width of 0 does not fit."""

    low: int
    width: int
    scale_bits: int

    def narrowed(self, cumulative: int, frequency: int) -> Interval:
        """The interval of the string with one more byte, on the same scale."""
        return Interval(
            low=self.low + (self.width * cumulative >> TOTAL_BITS),
            width=self.width * frequency >> TOTAL_BITS,
            scale_bits=self.scale_bits,
        )

    @property
    def bits_used(self) -> int:
        """``scale_bits − bit_length(width − 1)``: whole bits that tell the interval's width."""
        return self.scale_bits - (self.width - 1).bit_length()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bits:
    """A bit string: its value, first bit highest, and its length."""

    value: int
    length: int

    def padded(self, length: int) -> Bits:
        """With zeros behind it."""
        return Bits(value=self.value << length - self.length, length=length)


def shared_bits(interval: Interval) -> Bits:
    """The leading bits that all numbers of an interval share.

    >>> shared_bits(Interval(low=0b1010, width=2, scale_bits=4))
    Bits(value=5, length=3)
    """
    differing = (interval.low ^ (interval.low + interval.width - 1)).bit_length()
    return Bits(value=interval.low >> differing, length=interval.scale_bits - differing)


def shortest_bits(interval: Interval) -> Bits:
    """The shortest bit string whose numbers all lie in an interval; the lower of two equals.

    >>> shortest_bits(Interval(low=0b0111, width=3, scale_bits=4))
    Bits(value=4, length=3)
    """
    # An aligned block of 2^k numbers fits in 2^(k + 1) − 1 of them, wherever they start.
    for free in (interval.width.bit_length() - 1, interval.width.bit_length() - 2):
        value = -(-interval.low >> free)
        if value + 1 << free <= interval.low + interval.width:
            break
    return Bits(value=value, length=interval.scale_bits - free)
