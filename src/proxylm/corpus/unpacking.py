"""Compressed streams: told by their first bytes, unpacked in bounded memory, checked to the end.

Everything that reads a user's compressed file reads it here, so that a file is either sound for
all commands or for none. A stream must end where its format says (a truncated zstd stream reads
as a short one without an error); zeros after it are padding, as tapes and block devices leave it.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import zstandard

from proxylm.errors import DamagedFileError, DataError

PACKED_READ_BYTES = 1 << 12
"""Small on purpose: four bytes of zstd can stand for 128 KiB, so this bounds one block's size."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

MAX_ZSTD_WINDOW_BYTES = 1 << 31
"""As large as ``zstd --long=31`` makes it, and the library goes; large dumps are packed so."""


class Packing(StrEnum):
    """A compression of one stream that is read; the value names it in messages."""

    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTD = "zstd"


_FIRST_BYTES = {
    Packing.GZIP: re.compile(rb"\x1f\x8b\x08"),
    Packing.BZIP2: re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
    Packing.XZ: re.compile(rb"\xfd7zXZ\x00"),
    Packing.ZSTD: re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),  # or a skipped frame
}

_ENDINGS = {
    ".gz": Packing.GZIP,
    ".bgz": Packing.GZIP,
    ".bz2": Packing.BZIP2,
    ".xz": Packing.XZ,
    ".zst": Packing.ZSTD,
    ".zstd": Packing.ZSTD,
}

_DECOMPRESSORS: dict[Packing, Callable[[], Any]] = {
    Packing.GZIP: lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16),
    Packing.BZIP2: bz2.BZ2Decompressor,
    Packing.XZ: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ),
    Packing.ZSTD: lambda: zstandard.ZstdDecompressor(
        max_window_size=MAX_ZSTD_WINDOW_BYTES
    ).decompressobj(),
}

_LIMITS = {
    "too much memory": "its zstd window is over 2 GiB",
    "Dictionary mismatch": "it was packed with a dictionary that is not in it",
    "unsupported options": "it was packed with options that are not known here",
}
"""What libraries say of sound streams that they cannot read, and what it means."""


def packing_of(head: bytes, name: str) -> Packing | None:
    """How a file is packed, from its first bytes and, where they say nothing, its name.

    A name that promises a packing is believed unless JSON stands there: what fetched the file
    unpacked it on the way. So a damaged file is noticed when it is read.
    """
    for packing, pattern in _FIRST_BYTES.items():
        if pattern.match(head):
            return packing
    if head.removeprefix(BYTE_ORDER_MARK).lstrip()[:1] in (b"{", b"["):
        return None
    return _ENDINGS.get(PurePosixPath(name.lower()).suffix)


def unpacked_name(name: str) -> str:
    """A file's name in lower case and without the ending that names its packing.

    >>> unpacked_name("C4.json.GZ"), unpacked_name("a.jsonl")
    ('c4.json', 'a.jsonl')
    """
    path = PurePosixPath(name.lower())
    return str(path.with_suffix("")) if path.suffix in _ENDINGS else str(path)


def unpacked(blocks: Iterable[bytes], packing: Packing, origin: str) -> Iterator[bytes]:
    """The text of a packed stream, of all its members, block by block.

    Args:
        blocks: the stream; blocks of ``PACKED_READ_BYTES`` bound the memory.
        packing: how it is packed.
        origin: what messages call it.

    Raises:
        DamagedFileError: the stream is damaged or ends early.
        DataError: it is sound, and beyond what the library reads.
    """
    new_decompressor = _DECOMPRESSORS[packing]
    decompressor = new_decompressor()
    for block in blocks:
        data = block
        while data:
            if decompressor.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
                decompressor = new_decompressor()
            text = _decompress(decompressor, data, packing, origin)
            data = decompressor.unused_data
            if text:
                yield text
    if not decompressor.eof:
        raise DamagedFileError(f"{origin}: ends in the middle; it is truncated, get it again")


def _decompress(decompressor: Any, data: bytes, packing: Packing, origin: str) -> bytes:
    try:
        return bytes(decompressor.decompress(data))
    except (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError) as error:  # OSError: bzip2
        for sign, meaning in _LIMITS.items():
            if sign in str(error):
                raise DataError(f"{origin}: {meaning}; unpack it first") from None
        raise DamagedFileError(
            f"{origin}: damaged {packing} stream ({error}); get it again"
        ) from None


def read_unpacked(path: Path) -> bytes:
    """A file's whole content, unpacked if it is packed.

    Raises:
        DataError: it cannot be read; as ``unpacked``.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(PACKED_READ_BYTES)  # once: it may be a pipe
            packing = packing_of(head, path.name)
            if packing is None:
                return head + stream.read()
            blocks = chain([head], iter(lambda: stream.read(PACKED_READ_BYTES), b""))
            return b"".join(unpacked(blocks, packing, str(path)))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
