"""The choices of the coder: window, packing and how a window's bits end."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from proxylm.compressors.neural.coder.interval import (
    WINDOW_SCALE_BITS,
    Bits,
    Interval,
    shared_bits,
    shortest_bits,
)
from proxylm.config import Config

MAX_WINDOW_BYTES = 256
MAX_SEGMENT_BYTES = 1024
"""Longer segments are cut there: the LM's context is finite."""

SMALLEST_WINDOW_BITS = 16
"""256 bytes must each fit in a window, which 8 bits cannot promise."""


class DeterminedTermination(Config):
    """The leading bits that the whole interval shares: an arithmetic coder without a flush.

    Different strings, even with different first bytes, can share a code.
    """

    kind: Literal["determined"] = "determined"
    shortest: ClassVar[bool] = False

    def bits_needed(self, interval: Interval) -> int:
        """What counts against a window's bits: the interval's bits used."""
        return interval.bits_used

    def code(self, interval: Interval) -> Bits:
        """A window's code before padding."""
        return shared_bits(interval)


class MinimalTermination(Config):
    """The shortest bits that lie inside the interval: only extensions of a string collide."""

    kind: Literal["minimal"] = "minimal"
    shortest: ClassVar[bool] = True

    def bits_needed(self, interval: Interval) -> int:
        """What counts against a window's bits: the length of the code itself."""
        return shortest_bits(interval).length

    def code(self, interval: Interval) -> Bits:
        """A window's code before padding."""
        return shortest_bits(interval)


Termination = Annotated[DeterminedTermination | MinimalTermination, Field(discriminator="kind")]


class CoderSettings(Config):
    """How segments become symbols.

    Attributes:
        window_bits: bits of a window, a multiple of a symbol's; none codes whole segments.
        pack_bits: bits ``b`` of a symbol, ``K = 2^b``.
        termination: which bits stand for an interval.
    """

    window_bits: int | None = Field(default=16, ge=SMALLEST_WINDOW_BITS, le=WINDOW_SCALE_BITS)
    pack_bits: Literal[8, 16] = 16
    termination: Termination = DeterminedTermination()

    @model_validator(mode="after")
    def _windows_are_whole_symbols(self) -> Self:
        if self.window_bits is not None and self.window_bits % self.pack_bits:
            raise ValueError(
                f"window_bits {self.window_bits} is no multiple of pack_bits {self.pack_bits}"
            )
        return self

    @property
    def symbol_count(self) -> int:
        """``K``: symbols are below it."""
        return 1 << self.pack_bits
