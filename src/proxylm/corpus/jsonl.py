"""JSON lines, plain or compressed: one object per line, its text field the document.

A plain file is divided at line starts, so that several workers share it; a compressed one is a
single part. A bad line costs itself only: it is rejected with a reason and the rest is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import xxhash

from proxylm.corpus.config import RecordFields
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.left_out import RejectionReason
from proxylm.corpus.listing import (
    READ_BYTES,
    FileRecord,
    FoundFile,
    blocks_of,
    record_file,
    recorded,
)
from proxylm.corpus.places import naming, open_file
from proxylm.corpus.record_files import FileRange, RecordFilesCorpus
from proxylm.corpus.records import chosen_identity, document_from_text
from proxylm.corpus.streams import LongLine, read_range, split_lines
from proxylm.corpus.unpacking import (
    BYTE_ORDER_MARK,
    PACKED_READ_BYTES,
    packing_of,
    unpacked,
)
from proxylm.json_lines import parse_json


class JsonLinesCorpus(RecordFilesCorpus):
    """Documents in the lines of files, each plain or packed in a way of its own.

    A plain file is divided at the first line start after ``part_bytes``.
    """

    format_name = "json lines"

    def _divide(self, file: FoundFile) -> tuple[FileRecord, list[FileRange]]:
        with naming(file.path), open_file(file.path) as stream:
            packing = packing_of(stream.read(PACKED_READ_BYTES), file.name)
        if packing is None:
            return _divide_lines(file, self._part_bytes)
        record, size = record_file(file), file.num_bytes
        return record, [FileRange(0, size, size, 1, record.content_hash, packing)]

    def _read_range(self, record: FileRecord, place: FileRange) -> Iterator[Document | Rejection]:
        block = READ_BYTES if place.packing is None else PACKED_READ_BYTES
        blocks = read_range(record, place.first, place.stop, place.content_hash, block=block)
        if place.packing is not None:
            blocks = unpacked(blocks, place.packing, record.path)
        lines = split_lines(blocks, self._fields.max_document_bytes)
        for number, line in enumerate(lines, start=place.first_row):
            yield _parse_line(line, f"{record.name}:{number}", number == 1, self._fields)


def _divide_lines(file: FoundFile, part_bytes: int) -> tuple[FileRecord, list[FileRange]]:
    """Record a file and divide it into consecutive ranges of its bytes, reading it once."""
    start, position, line, lines_before = 0, 0, 1, 0
    whole, digest = xxhash.xxh3_128(), xxhash.xxh3_128()
    ranges: list[FileRange] = []
    for block in blocks_of(file):
        whole.update(block)
        done = 0
        # The wanted end may lie in an earlier block when a line is longer than a part.
        while (wanted := max(start + part_bytes - position, done)) < len(block):
            newline = block.find(b"\n", wanted)
            if newline < 0:
                break
            digest.update(block[done : newline + 1])
            lines_before += block.count(b"\n", done, newline + 1)
            done = newline + 1
            stop = position + done
            ranges.append(FileRange(start, stop, stop - start, line, digest.hexdigest()))
            start, line = stop, line + lines_before
            lines_before, digest = 0, xxhash.xxh3_128()
        digest.update(block[done:])
        lines_before += block.count(b"\n", done)
        position += len(block)
    if position > start:
        ranges.append(FileRange(start, position, position - start, line, digest.hexdigest()))
    return recorded(file, whole.hexdigest()), ranges


class JsonObject(list[tuple[str, Any]]):
    """The members of one JSON object in order, duplicates included."""


def _parse_line(
    line: bytes | LongLine, identity: str, is_first: bool, fields: RecordFields
) -> Document | Rejection:
    reject = partial(Rejection, id=identity)
    record = _parse_object(line, is_first, fields, reject)
    if isinstance(record, Rejection):
        return record
    identity = chosen_identity(record.get(fields.id or ""), identity)
    if fields.text not in record:
        # As Python writes them: a key may hold anything, a lone surrogate for instance.
        there = f"there are: {', '.join(map(repr, record)) or 'none'}"
        return Rejection(id=identity, reason=RejectionReason.MISSING_TEXT, detail=f"{there:.100}")
    return document_from_text(
        record[fields.text],
        identity=identity,
        fields=fields,
        symbols=record.get(fields.symbols or ""),
    )


def _parse_object(
    line: bytes | LongLine, is_first: bool, fields: RecordFields, reject: Callable[..., Rejection]
) -> dict[str, Any] | Rejection:
    if isinstance(line, LongLine):
        return reject(reason=RejectionReason.TOO_LONG, detail=f"{line.num_bytes} bytes")
    try:
        text = (line.removeprefix(BYTE_ORDER_MARK) if is_first else line).decode()
        # NaN and infinities outside the fields we read do no harm and are let through.
        value = parse_json(text, JsonObject) if text.strip() else None
    except UnicodeDecodeError as error:
        return reject(reason=RejectionReason.INVALID_UTF8, detail=f"byte {error.start}")
    except RecursionError:
        return reject(reason=RejectionReason.TOO_DEEP)
    except ValueError as error:
        return reject(reason=RejectionReason.INVALID_JSON, detail=str(error))
    if not text.strip():
        return reject(reason=RejectionReason.EMPTY, detail="blank line")
    if not isinstance(value, JsonObject):
        return reject(reason=RejectionReason.INVALID_JSON, detail="not an object")
    record = dict(value)
    if len(record) < len(value):
        keys = [key for key, _ in value]
        for name in fields.names:
            if keys.count(name) > 1:
                return reject(reason=RejectionReason.DUPLICATE_KEY, detail=name)
    return record
