"""Gzip as a proxy compressor (method, section 3): the one that is meant to fail.

The output bytes are the symbols, K = 256. They cannot be cut at document bytes, so there are no
anchors. The deflate stream depends on the zlib version, which is therefore part of the settings.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from proxylm.compressors.contract import CannotCompress, CompressedView, Compressor
from proxylm.config import Config, validate_config
from proxylm.errors import DataError
from proxylm.symbols import BYTE_COUNT

OPERATING_SYSTEM_BYTE = 9
UNKNOWN_OPERATING_SYSTEM = 255


class GzipSettings(Config):
    """Level 1 (fast) to 9 (small), and the zlib that wrote the symbols (default: this one)."""

    level: int = Field(default=9, ge=1, le=9)
    zlib_version: str = Field(default_factory=lambda: zlib.ZLIB_RUNTIME_VERSION)


class GzipCompressor(Compressor):
    """``gzip.compress`` of each document, without time and operating system.

    Raises:
        DataError: the settings are of another zlib, which may write other bytes.
    """

    kind = "gzip"
    reversible = True
    symbol_count = BYTE_COUNT

    def __init__(self, settings: GzipSettings) -> None:
        if settings.zlib_version != zlib.ZLIB_RUNTIME_VERSION:
            raise DataError(
                f"gzip: made with zlib {settings.zlib_version}, this Python has "
                f"{zlib.ZLIB_RUNTIME_VERSION}, which may write other bytes; prepare the view again"
            )
        self._settings = settings

    @property
    def settings(self) -> dict[str, Any]:
        """Level and zlib version."""
        return self._settings.model_dump()

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """``level`` and ``zlib_version``, both optional."""
        return cls(validate_config(GzipSettings, settings, origin=cls.kind))

    def encode(self, documents: Sequence[bytes]) -> list[CompressedView | CannotCompress]:
        """The bytes of each document's gzip file."""
        return [CompressedView(symbols=self._encode_one(raw)) for raw in documents]

    def _encode_one(self, raw: bytes) -> NDArray[np.uint32]:
        written = bytearray(gzip.compress(raw, self._settings.level, mtime=0))
        # Python versions disagree on what they write here.
        written[OPERATING_SYSTEM_BYTE] = UNKNOWN_OPERATING_SYSTEM
        return np.frombuffer(written, dtype=np.uint8).astype(np.uint32)

    def decode(self, symbols: Sequence[NDArray[np.uint32]]) -> list[bytes]:
        """Unpack each gzip file."""
        return [_decode_one(index, sequence) for index, sequence in enumerate(symbols)]


def _decode_one(index: int, symbols: NDArray[np.uint32]) -> bytes:
    try:
        return gzip.decompress(symbols.astype(np.uint8).tobytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"gzip: sequence {index} is not a gzip stream ({error})") from None
