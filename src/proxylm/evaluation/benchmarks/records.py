"""Records of a benchmark's file: JSON lines, plain or compressed, or one JSON list.

Whatever is wrong is named with its file and record; nothing is skipped.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from proxylm.errors import DataError

Record = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """All records of ``.jsonl``, ``.jsonl.gz`` or ``.json`` (a list), in order.

    Raises:
        DataError: the file is missing, damaged, or a record is not a JSON object.
    """
    data = _read(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 (byte {error.start})") from None
    return parse_records(text, str(path), is_list=path.suffix == ".json")


def parse_records(text: str, origin: str, *, is_list: bool = False) -> list[Record]:
    """Records of a text that was read from ``origin``."""
    records = []
    for number, value in _values(text, origin, is_list=is_list):
        if not isinstance(value, dict):
            raise DataError(f"{origin}: record {number} is not a JSON object")
        records.append(value)
    return records


def text_of(record: Record, key: str, origin: str) -> str:
    """A record's text under ``key``.

    Raises:
        DataError: it is missing, or no text.
    """
    value = record.get(key)
    if not isinstance(value, str):
        name = record.get("task_id", "a record")
        found = "is missing" if key not in record else f"is {type(value).__name__}, not text"
        raise DataError(f"{origin}: {name}: '{key}' {found}")
    return value


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip file ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _values(text: str, origin: str, *, is_list: bool) -> Iterator[tuple[int, Any]]:
    if is_list:
        values = _parsed(text, f"{origin}")
        if not isinstance(values, list):
            raise DataError(f"{origin}: expected a JSON list of records")
        yield from enumerate(values, start=1)
        return
    # Only line feeds end a record: a text may hold any other separator.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, _parsed(line, f"{origin}:{number}")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not readable as JSON ({error})") from None
