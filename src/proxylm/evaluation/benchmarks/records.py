"""Records of a benchmark's file: JSON lines or one JSON list, plain or compressed.

Whatever is wrong is named with its file and record; nothing is skipped.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from proxylm.corpus.unpacking import BYTE_ORDER_MARK, read_unpacked
from proxylm.errors import DataError
from proxylm.json_lines import parse_json
from proxylm.sandbox.source_names import bound_names

Record = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """All records of a file, in order; what it is is told by its bytes, as for corpora.

    Raises:
        DataError: the file is missing, damaged, or a record is not a JSON object.
    """
    return parse_records(read_unpacked(path), str(path))


def parse_records(data: bytes, origin: str) -> list[Record]:
    """Records of the bytes that were read from ``origin``: JSON lines, or one list of them.

    Raises:
        DataError: they are not UTF-8, or a record is not a JSON object.
    """
    try:
        text = data.removeprefix(BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{origin}: is not UTF-8 (byte {error.start}), so no JSON") from None
    records = []
    for number, value in _values(text, origin):
        if not isinstance(value, dict):
            raise DataError(f"{origin}: record {number} is not a JSON object")
        records.append(value)
    return records


def text_of(record: Record, key: str, origin: str) -> str:
    """A record's text under ``key``.

    Raises:
        DataError: it is missing, no text, or text that has no UTF-8 form.
    """
    where = f"{origin}: {record.get('task_id', 'a record')!s:.100}: '{key}'"
    if key not in record:
        raise DataError(f"{where} is missing")
    return checked_text(record[key], where)


def checked_text(value: object, where: str) -> str:
    """A value that should be text, as text.

    Raises:
        DataError: it is none, or holds half of a surrogate pair, which JSON can spell.
    """
    if not isinstance(value, str):
        raise DataError(f"{where} is {type(value).__name__}, not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where} has a lone surrogate (character {error.start}), which is no text"
        ) from None
    return value


def python_of(record: Record, key: str, origin: str) -> str:
    """A record's text under ``key`` that is Python.

    Raises:
        DataError: as ``text_of``, or it is not Python.
    """
    text = text_of(record, key, origin)
    return checked_python(text, f"{origin}: {record.get('task_id', 'a record')!s:.100}: '{key}'")


def checked_python(source: str, where: str) -> str:
    """A source that is to be run, if it is Python: found out before anything is generated.

    Raises:
        DataError: it is not; ``where`` names it.
    """
    fault = _fault_of(source)
    if fault:
        raise DataError(f"{where} is not Python ({fault})")
    return source


@lru_cache(maxsize=4096)  # the variants of one problem share their test
def _fault_of(source: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old sources have escapes that are none any more
            compile(source, "<source>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # ValueError: a NUL
        return str(error) or type(error).__name__
    return ""


def name_of(record: Record, key: str, origin: str) -> str:
    """A record's text under ``key`` that can name a function.

    Raises:
        DataError: as ``text_of``, or it is no name of Python's.
    """
    name = text_of(record, key, origin)
    if not name.isidentifier():
        task_id = record.get("task_id", "a record")
        raise DataError(f"{origin}: {task_id!s:.100}: '{key}' is no name: {name!r:.100}")
    return name


def entry_point_of(record: Record, program: str, origin: str) -> str:
    """The function under test: a name that the prompt and its canonical solution define.

    Where they are not Python together (some variants of a prompt), it has to occur in them.

    Raises:
        DataError: as ``name_of``, or nothing defines it: every program would fail its test.
    """
    name = name_of(record, "entry_point", origin)
    known = set(re.findall(r"\w+", program)) if _fault_of(program) else bound_names(program)
    if name not in known:
        raise DataError(
            f"{origin}: {record.get('task_id', 'a record')!s:.100}: neither 'prompt' nor "
            f"'canonical_solution' defines the 'entry_point' {name!r:.100}; correct the record"
        )
    return name


def _values(text: str, origin: str) -> Iterator[tuple[int, Any]]:
    if text.lstrip().startswith("["):
        yield from enumerate(_parsed(text, origin), start=1)
        return
    # Only line feeds end a record: a text may hold any other separator.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, _parsed(line, f"{origin}:{number}")


def _parsed(text: str, where: str) -> Any:
    try:
        return parse_json(text, _object)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not readable as JSON ({error})") from None


def _object(members: list[tuple[str, Any]]) -> Record:
    """An object of JSON; one with a key twice is refused, as which of the two is meant is unknown.

    Raises:
        ValueError: it has.
    """
    record = dict(members)
    if len(record) < len(members):
        keys = [key for key, _ in members]
        twice = next(key for key in record if keys.count(key) > 1)
        raise ValueError(f"key {twice!r:.100} stands twice in one object")
    return record
