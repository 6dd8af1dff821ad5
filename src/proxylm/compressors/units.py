"""The byte stream in units of 16, 8, 4, 2 or 1 bits (method, section 3).

Units are read most significant bit first. Small units divide a byte, so any length works. A
16-bit unit is two bytes, the first one high; the last byte of an odd length has no partner and
becomes one of 256 further symbols, ``65536 + byte``: K = 65 792, and a real trailing NUL is
never confused with padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from jaxtyping import Int, Int64
from numpy.typing import NDArray

from proxylm.compressors.contract import (
    ANCHOR_SPACING,
    CannotCompress,
    CompressedView,
    Compressor,
)
from proxylm.config import Config, validate_config
from proxylm.errors import DataError
from proxylm.symbols import BYTE_COUNT

PAIR_COUNT = BYTE_COUNT * BYTE_COUNT
BITS_PER_BYTE = 8


class UnitsSettings(Config):
    """Bits of one unit."""

    bits: Literal[16, 8, 4, 2, 1] = 8


class UnitsCompressor(Compressor):
    """Each document's bits in units of ``bits``."""

    kind = "units"
    reversible = True

    def __init__(self, settings: UnitsSettings) -> None:
        self._settings = settings
        bits = settings.bits
        self.symbol_count = PAIR_COUNT + BYTE_COUNT if bits == 16 else 1 << bits

    @property
    def settings(self) -> dict[str, Any]:
        """The number of bits."""
        return self._settings.model_dump()

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """``bits``: 16, 8 (default), 4, 2 or 1."""
        return cls(validate_config(UnitsSettings, settings, origin=cls.kind))

    def encode(self, documents: Sequence[bytes]) -> list[CompressedView | CannotCompress]:
        """The units of each document; every 64th unit boundary is an anchor."""
        return [self._encode_one(raw) for raw in documents]

    def _encode_one(self, raw: bytes) -> CompressedView:
        data = np.frombuffer(raw, dtype=np.uint8)
        bits = self._settings.bits
        symbols = _join_pairs(data) if bits == 16 else _divide_bytes(data, bits)
        offsets = np.arange(ANCHOR_SPACING, len(symbols), ANCHOR_SPACING)
        anchors = np.stack((offsets * bits // BITS_PER_BYTE, offsets), axis=1)
        return CompressedView(symbols=symbols, anchors=anchors.astype(np.uint32))

    def divide(
        self, raw: bytes, view: CompressedView
    ) -> tuple[Int[np.ndarray, " unit"], Int[np.ndarray, " unit"]]:
        """Every byte with its units, or pair of bytes with its one unit."""
        step, count = self._bytes_and_units
        starts = np.arange(0, len(raw), step)
        return np.minimum(len(raw) - starts, step), np.full(len(starts), count)

    @property
    def _bytes_and_units(self) -> tuple[int, int]:
        """The fewest whole bytes that are whole units, and how many of these they are."""
        bits = self._settings.bits
        return max(1, bits // BITS_PER_BYTE), max(1, BITS_PER_BYTE // bits)

    def settled(
        self, raw: bytes, view: CompressedView
    ) -> Int64[np.ndarray, "place byte_symbol_known=3"]:
        """Every byte, or pair of bytes: units never depend on what follows."""
        step, count = self._bytes_and_units
        places = np.arange(step, len(raw) + 1, step)
        return np.stack((places, places // step * count, places), axis=1)

    def decode(self, symbols: Sequence[NDArray[np.uint32]]) -> list[bytes]:
        """The bytes of each sequence of units."""
        return [self._decode_one(index, one) for index, one in enumerate(symbols)]

    def _decode_one(self, index: int, symbols: NDArray[np.uint32]) -> bytes:
        if self._settings.bits == 16:
            return _split_pairs(index, symbols)
        per_byte = BITS_PER_BYTE // self._settings.bits
        if len(symbols) % per_byte:
            raise DataError(f"units: sequence {index} ends inside a byte")
        shifts = _shifts(self._settings.bits)
        parts = symbols.reshape(-1, per_byte).astype(np.uint8) << shifts
        return np.bitwise_or.reduce(parts, axis=1).astype(np.uint8).tobytes()


def _shifts(bits: int) -> NDArray[np.uint8]:
    return np.arange(BITS_PER_BYTE - bits, -1, -bits, dtype=np.uint8)


def _divide_bytes(data: NDArray[np.uint8], bits: int) -> NDArray[np.uint32]:
    # Column by column: bits of 16 MiB are half a gibibyte, and no second array as large.
    shifts = _shifts(bits)
    units = np.empty((len(data), len(shifts)), dtype=np.uint32)
    for column, shift in enumerate(shifts):
        units[:, column] = (data >> shift) & np.uint8((1 << bits) - 1)
    return units.reshape(-1)


def _join_pairs(data: NDArray[np.uint8]) -> NDArray[np.uint32]:
    even = len(data) // 2 * 2
    pairs = data[:even].view(">u2").astype(np.uint32)
    return np.concatenate((pairs, data[even:].astype(np.uint32) + np.uint32(PAIR_COUNT)))


def _split_pairs(index: int, symbols: NDArray[np.uint32]) -> bytes:
    if (symbols[:-1] >= PAIR_COUNT).any():
        raise DataError(f"units: sequence {index} has a lone byte before its end")
    has_tail = symbols.size > 0 and symbols[-1] >= PAIR_COUNT
    pairs = symbols[:-1] if has_tail else symbols
    tail = bytes([int(symbols[-1]) - PAIR_COUNT]) if has_tail else b""
    return pairs.astype(">u2").tobytes() + tail
