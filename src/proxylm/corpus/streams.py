"""Bytes of a recorded file, plain or compressed, and their lines, in bounded memory.

Everything read is checked against the record (size and hash), and a compressed stream must end
where its format says: a truncated zstd stream reads as a short one without an error.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import xxhash
import zstandard

from proxylm.corpus.listing import READ_BYTES, FileRecord, changed_error
from proxylm.errors import DamagedFileError

COMPRESSED_READ_BYTES = 1 << 12
"""Small on purpose: four bytes of zstd can stand for 128 KiB, so this bounds one block's size."""


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line that was longer than the limit and was skipped; ``num_bytes`` without newline."""

    num_bytes: int


def read_whole(record: FileRecord) -> bytes:
    """A file's bytes, which must be the recorded ones."""
    blocks = list(read_range(record, 0, record.num_bytes, record.content_hash))
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def read_range(
    record: FileRecord, start: int, stop: int, content_hash: str, *, block: int = READ_BYTES
) -> Iterator[bytes]:
    """Blocks of ``[start, stop)``; after the last one, hash and file size are checked.

    Raises:
        DataError: the bytes are not those recorded, or the file is gone or has another size.
    """
    digest = xxhash.xxh3_128()
    try:
        with open(record.path, "rb") as stream:  # noqa: PTH123 - the path is recorded as text
            stream.seek(start)
            while start < stop and (data := stream.read(min(block, stop - start))):
                digest.update(data)
                start += len(data)
                yield data
            grown = stream.seek(0, 2) != record.num_bytes
    except FileNotFoundError:
        raise changed_error(record) from None
    if grown or digest.hexdigest() != content_hash:
        raise changed_error(record)


def read_decompressed(record: FileRecord) -> Iterator[bytes]:
    """Blocks of a file's text, decompressed if its name ends in ``.gz`` or ``.zst``.

    Raises:
        DamagedFileError: the compressed stream is corrupt or ends early; names the file.
        DataError: the file is not the recorded one.
    """
    decompressor = _decompressor_for(record.name)
    size = COMPRESSED_READ_BYTES if decompressor else READ_BYTES
    blocks = read_range(record, 0, record.num_bytes, record.content_hash, block=size)
    return _decompress(blocks, decompressor, record) if decompressor else blocks


def is_compressed(name: str) -> bool:
    """Whether a file of this name is read through a decompressor."""
    return _decompressor_for(name) is not None


def _decompressor_for(name: str) -> Callable[[], Any] | None:
    if name.endswith(".gz"):
        return lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    if name.endswith(".zst"):
        return lambda: zstandard.ZstdDecompressor().decompressobj()
    return None


def _decompress(
    blocks: Iterator[bytes], new_decompressor: Callable[[], Any], record: FileRecord
) -> Iterator[bytes]:
    # Both formats may hold several members, one after the other.
    decompressor = new_decompressor()
    try:
        for block in blocks:
            data = block
            while data:
                if decompressor.eof:
                    decompressor = new_decompressor()
                text = decompressor.decompress(data)
                data = decompressor.unused_data
                if text:
                    yield text
    except (zlib.error, zstandard.ZstdError) as error:
        raise DamagedFileError(f"{record.path}: damaged ({error}); get it again") from None
    if not decompressor.eof:
        raise DamagedFileError(f"{record.path}: ends in the middle; it is truncated, get it again")


def split_lines(blocks: Iterator[bytes], limit: int) -> Iterator[bytes | LongLine]:
    """Lines without their newline; those over ``limit`` bytes are skipped, never held.

    The last line needs no newline; an empty line before the end counts, nothing after it does.
    """
    held: list[bytes] = []
    held_bytes = 0
    for block in blocks:
        *ended, rest = block.split(b"\n")
        for piece in ended:
            yield _join(held, piece, held_bytes + len(piece), limit)
            held.clear()
            held_bytes = 0
        held_bytes += len(rest)
        if held_bytes > limit:
            held.clear()
        elif rest:
            held.append(rest)
    if held_bytes:
        yield _join(held, b"", held_bytes, limit)


def _join(held: list[bytes], piece: bytes, num_bytes: int, limit: int) -> bytes | LongLine:
    if num_bytes > limit:
        return LongLine(num_bytes)
    return b"".join((*held, piece)) if held else piece
