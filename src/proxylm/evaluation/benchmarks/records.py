"""Records of a benchmark's file: JSON lines or one JSON list, plain or compressed.

Whatever is wrong is named with its file and record; nothing is skipped.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from proxylm.corpus.unpacking import BYTE_ORDER_MARK, read_unpacked
from proxylm.errors import DataError
from proxylm.json_lines import parse_json
from proxylm.sandbox.source_names import bound_names


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
        records.append(Record(fields=value, origin=origin))
    return records


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One problem as its file has it.

    Attributes:
        fields: its values by key.
        origin: the file.
    """

    fields: dict[str, Any]
    origin: str

    def __contains__(self, key: str) -> bool:
        return key in self.fields

    @property
    def where(self) -> str:
        """Names file and problem, for messages."""
        return f"{self.origin}: {self.fields.get('task_id', 'a record')!s:.100}"

    def text(self, key: str) -> str:
        """The text under ``key``.

        Raises:
            DataError: it is missing, no text, or text that has no UTF-8 form.
        """
        if key not in self:
            raise DataError(f"{self.where}: '{key}' is missing")
        return self._checked_text(self.fields[key], f"'{key}'")

    def texts(self, key: str) -> list[str]:
        """The list of texts under ``key``.

        Raises:
            DataError: it is none.
        """
        values = self.fields.get(key)
        if not isinstance(values, list):
            raise DataError(f"{self.where}: '{key}' is not a list of texts")
        return [self._checked_text(value, f"a text of '{key}'") for value in values]

    def python(self, source: str, what: str) -> str:
        """A source that is to be run, if it is Python: found out before anything is generated.

        Args:
            source: made of the record's texts.
            what: names it in the message.

        Raises:
            DataError: it is not Python.
        """
        fault = _fault_of(source)
        if fault:
            raise DataError(f"{self.where}: {what} is not Python ({fault})")
        return source

    def entry_point(self, program: str) -> str:
        """The function under test: a name that the prompt and its canonical solution define.

        Where they are not Python together (some variants of a prompt), it has to occur in them.

        Args:
            program: both, one after the other.

        Raises:
            DataError: it is no name of Python's, or nothing defines it: every program would fail
                its test.
        """
        name = self.text("entry_point")
        if not name.isidentifier():
            raise DataError(f"{self.where}: 'entry_point' is no name: {name!r:.100}")
        known = set(re.findall(r"\w+", program)) if _fault_of(program) else bound_names(program)
        if name not in known:
            raise DataError(
                f"{self.where}: neither 'prompt' nor 'canonical_solution' defines the "
                f"'entry_point' {name!r:.100}; correct the record"
            )
        return name

    def _checked_text(self, value: object, what: str) -> str:
        if not isinstance(value, str):
            raise DataError(f"{self.where}: {what} is {type(value).__name__}, not text")
        try:
            value.encode()
        except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can spell
            raise DataError(
                f"{self.where}: {what} has a lone surrogate (character {error.start}), which is "
                "no text"
            ) from None
        return value


@lru_cache(maxsize=4096)  # the variants of one problem share their test
def _fault_of(source: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old sources have escapes that are none any more
            compile(source, "<source>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # ValueError: a NUL
        return str(error) or type(error).__name__
    return ""


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


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
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
