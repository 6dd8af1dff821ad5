"""Bytes of a recorded file, and the lines of a text, in bounded memory.

Everything read is checked against the record (size and hash).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import xxhash

from proxylm.corpus.listing import READ_BYTES, FileRecord, changed_error
from proxylm.corpus.places import naming, open_file


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line that was longer than the limit and was skipped; ``num_bytes`` without newline."""

    num_bytes: int


def read_whole(record: FileRecord) -> bytes:
    """A file's bytes, which must be the recorded ones."""
    return b"".join(read_range(record, 0, record.num_bytes, record.content_hash))


def read_range(
    record: FileRecord, start: int, stop: int, content_hash: str, *, block: int = READ_BYTES
) -> Iterator[bytes]:
    """Blocks of ``[start, stop)``; after the last one, hash and file size are checked.

    Raises:
        DataError: the bytes are not those recorded, or the file is gone or has another size.
    """
    digest = xxhash.xxh3_128()
    try:
        with naming(record.path), open_file(record.path) as stream:
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
