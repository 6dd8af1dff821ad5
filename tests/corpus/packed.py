"""Texts packed in every way that is read, for the tests of whatever reads packed files."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable

import zstandard

PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda text: gzip.compress(text, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda text: zstandard.ZstdCompressor(write_checksum=True).compress(text),
}
"""By the usual ending."""


def zstd_frame(text: bytes, window_log: int) -> bytes:
    """One zstd frame (RFC 8878) that holds a short text as it is and asks for a window."""
    window = bytes([(window_log - 10) << 3])
    block = (1 | len(text) << 3).to_bytes(3, "little") + text
    return b"\x28\xb5\x2f\xfd\x00" + window + block
