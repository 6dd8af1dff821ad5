"""What a file holds: told by its first bytes, and by its name where they say nothing.

Records (JSON lines, Parquet, Arrow) are one document each. A file that is compressed, or an
archive, and holds no such records is *packed*: no document, since its bytes stand for others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path, PurePosixPath

import pyarrow as pa

from proxylm.corpus.places import naming, open_file
from proxylm.corpus.unpacking import (
    BYTE_ORDER_MARK,
    PACKED_READ_BYTES,
    packing_of,
    unpacked,
    unpacked_name,
)
from proxylm.errors import DataError

HEAD_BYTES = 1 << 16
LONGEST_FIRST_LINE = 16 << 20
"""How far the end of a first line is looked for before the file counts as one document."""

_READ_BYTES = 1 << 16


class FileContent(StrEnum):
    """What a file holds; the value names it in messages."""

    DOCUMENT = "documents"
    JSON_LINES = "JSON lines"
    PARQUET = "Parquet"
    ARROW = "Arrow"
    PACKED = "packed files"

    @property
    def is_records(self) -> bool:
        """Whether each record of the file is a document."""
        return self not in (FileContent.DOCUMENT, FileContent.PACKED)


_FIRST_BYTES = {
    b"PAR1\x15": FileContent.PARQUET,  # the first field of a page's header, or of the footer
    b"ARROW1\0\0": FileContent.ARROW,
    b"PK\x03\x04": FileContent.PACKED,  # zip, and all that is made of it
    b"PK\x05\x06": FileContent.PACKED,
    b"7z\xbc\xaf\x27\x1c": FileContent.PACKED,
    b"Rar!\x1a\x07": FileContent.PACKED,
    b"\x04\x22\x4d\x18": FileContent.PACKED,  # lz4
    b"\xff\x06\0\0sNaPpY": FileContent.PACKED,
    b"\x1f\x9d": FileContent.PACKED,  # compress
    b"LZIP\x01": FileContent.PACKED,
    b"Obj\x01": FileContent.PACKED,  # Avro
    b"FEA1": FileContent.PACKED,  # Feather, before it was Arrow
}

_ENDINGS = {
    ".jsonl": FileContent.JSON_LINES,
    ".jsonlines": FileContent.JSON_LINES,
    ".ndjson": FileContent.JSON_LINES,
    ".ldjson": FileContent.JSON_LINES,
    ".parquet": FileContent.PARQUET,
    ".pq": FileContent.PARQUET,
    ".arrow": FileContent.ARROW,
    ".arrows": FileContent.ARROW,
    ".feather": FileContent.ARROW,
    ".ipc": FileContent.ARROW,
    ".br": FileContent.PACKED,  # no first bytes tell these two
    ".lzma": FileContent.PACKED,
}

_MAYBE_LINES = re.compile(r"|\..*(json|[0-9]).*")
"""Endings that JSON lines often have, and other files, too: there the first lines decide.

None, ``.json`` and its kin (``.geojson``), and numbers: ``.00001-of-00008``, ``.jsonl-part2``.
"""

_TAR_MAGIC = slice(257, 262)


def content_at(path: str | Path, name: str) -> FileContent:
    """What a regular file holds, at a path or a URL, which the corpus calls ``name``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "c4.json")
    ...     _ = path.write_bytes(b'{"text": "a"}\\n{"text": "b"}\\n')
    ...     content_at(path, "c4.json"), content_at(path, "c4.txt")
    (<FileContent.JSON_LINES: 'JSON lines'>, <FileContent.DOCUMENT: 'documents'>)
    """
    plain_name = unpacked_name(name)
    with naming(str(path)), open_file(path) as stream:
        packing = packing_of(stream.read(PACKED_READ_BYTES), name)
        stream.seek(0)
        if packing is None:
            return _plain_content(_head(iter(lambda: stream.read(_READ_BYTES), b"")), plain_name)
        blocks = iter(lambda: stream.read(PACKED_READ_BYTES), b"")
        head = _head(_until_damage(unpacked(blocks, packing, name)))
    inner = _plain_content(head, plain_name)
    is_lines = inner is FileContent.JSON_LINES or _begins_with_object(head)
    return FileContent.JSON_LINES if is_lines else FileContent.PACKED


def _until_damage(blocks: Iterable[bytes]) -> Iterator[bytes]:
    with suppress(DataError):  # it is reported by whoever reads the file
        yield from blocks


def _head(blocks: Iterable[bytes]) -> bytes:
    """The first bytes of a text: enough to see the end of a first line that opens an object."""
    head = bytearray()
    line_ended = False
    for block in blocks:
        line_ended = line_ended or b"\n" in block
        head += block
        wanted = HEAD_BYTES if line_ended or not _opens_object(head) else LONGEST_FIRST_LINE
        if len(head) >= wanted:
            break
    return bytes(head)


def _plain_content(head: bytes, plain_name: str) -> FileContent:
    for first, content in _FIRST_BYTES.items():
        if head.startswith(first):
            return content
    if _is_arrow_stream(head):
        return FileContent.ARROW
    if head[_TAR_MAGIC] == b"ustar":
        return FileContent.PACKED
    ending = PurePosixPath(plain_name).suffix
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    if _MAYBE_LINES.fullmatch(ending) and _begins_with_two_objects(head):
        return FileContent.JSON_LINES
    return FileContent.DOCUMENT


def _is_arrow_stream(head: bytes) -> bool:
    if not head.startswith(b"\xff\xff\xff\xff"):
        return False
    try:
        pa.ipc.open_stream(head)
    except (pa.ArrowException, OSError):
        return False
    return True


def _opens_object(head: bytes | bytearray) -> bool:
    return head[:HEAD_BYTES].removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"{")


def _begins_with_object(head: bytes) -> bool:
    """Whether the first line is an object, as far as it can be seen."""
    first, newline, _ = head.removeprefix(BYTE_ORDER_MARK).lstrip().partition(b"\n")
    return first.startswith(b"{") and (not newline or first.rstrip().endswith(b"}"))


def _begins_with_two_objects(head: bytes) -> bool:
    # One object alone may as well be a document of JSON, as may one spread over many lines.
    first, _, rest = head.removeprefix(BYTE_ORDER_MARK).lstrip().partition(b"\n")
    return _begins_with_object(first + b"\n") and rest.lstrip().startswith(b"{")
