"""The contract of the coder's four engines: segments in, symbols out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import UInt, UInt8, UInt32
from numpy.typing import NDArray

from proxylm.compressors.neural.coder.settings import MAX_SEGMENT_BYTES, CoderSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedSegments:
    """Symbols of segments, one after the other.

    Attributes:
        symbols: uint32 ``[m]``.
        symbols_per_segment: uint32 ``[s]``, of sum ``m``; 0 for an empty segment alone.
    """

    symbols: UInt32[np.ndarray, " symbol"]
    symbols_per_segment: UInt32[np.ndarray, " segment"]

    @classmethod
    def of(cls, parts: Iterable[Sequence[int] | NDArray[np.uint32]]) -> CodedSegments:
        """From the symbols of each segment."""
        arrays = [np.asarray(part, np.uint32) for part in parts]
        return cls(
            symbols=np.concatenate([np.empty(0, np.uint32), *arrays]),
            symbols_per_segment=np.array([len(part) for part in arrays], np.uint32),
        )


class Engine(ABC):
    """Codes segments, each on its own: its symbols depend on nothing but its bytes.

    All engines with the same settings and the same frequencies give the same symbols.
    """

    name: ClassVar[str]
    settings: CoderSettings

    def code(
        self, raw: UInt8[np.ndarray, " byte"], segment_lengths: UInt32[np.ndarray, " segment"]
    ) -> CodedSegments:
        """Symbols of the segments that follow each other in ``raw``.

        Args:
            raw: uint8 ``[n]``.
            segment_lengths: uint32 ``[s]`` of sum ``n``, none above 1024.

        Raises:
            ValueError: the lengths do not fit.
        """
        if int(segment_lengths.sum(dtype=np.int64)) != len(raw):
            raise ValueError(f"segment lengths do not add up to {len(raw)} bytes")
        if len(segment_lengths) and segment_lengths.max() > MAX_SEGMENT_BYTES:
            raise ValueError(f"a segment is longer than {MAX_SEGMENT_BYTES} bytes")
        return self._code(raw, segment_lengths)

    @abstractmethod
    def _code(self, raw: NDArray[np.uint8], lengths: NDArray[np.uint32]) -> CodedSegments:
        """``code`` of arguments that have been checked."""


def symbols_of_windows(
    settings: CoderSettings,
    windows: UInt[np.ndarray, " window"],
    windows_per_segment: UInt32[np.ndarray, " segment"],
) -> CodedSegments:
    """Codes of windows cut into symbols, the most significant first.

    Args:
        settings: of the coder, with windows.
        windows: unsigned ``[w]``, codes of ``window_bits`` bits.
        windows_per_segment: uint32 ``[s]`` of sum ``w``.
    """
    assert settings.window_bits is not None
    shifts = range(settings.window_bits - settings.pack_bits, -1, -settings.pack_bits)
    if len(shifts) == 1:
        symbols = windows.astype(np.uint32, copy=False)
        return CodedSegments(symbols=symbols, symbols_per_segment=windows_per_segment)
    mask = settings.symbol_count - 1
    parts = [(windows >> shift & mask).astype(np.uint32) for shift in shifts]
    return CodedSegments(
        symbols=np.stack(parts, axis=1).ravel(),
        symbols_per_segment=windows_per_segment * np.uint32(len(shifts)),
    )
