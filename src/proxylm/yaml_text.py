"""Plain values as YAML: the one reader and the one writer of everything that is configured.

The rules are those of YAML 1.2's core schema, and underscores between the digits of a decimal
integer (``1_000_000``). So ``1e5`` is a number, ``010`` is ten, and ``on``, ``yes``, ``1:30`` and
``2024-05-01`` are texts. Keys are texts, whatever they look like. Anchors, aliases, tags, merges
and interpolation have no meaning here; the first three are refused. PyYAML finds the structure, a
scalar's meaning is decided in ``scalar`` alone, so files and overrides cannot differ.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from proxylm.errors import UsageError, shortened

MAX_BYTES = 1 << 20
MAX_DEPTH = 64

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{f"{sign}.{word}": math.inf for sign in ("", "+") for word in ("inf", "Inf", "INF")},
    **{f"-.{word}": -math.inf for word in ("inf", "Inf", "INF")},
}
_INTEGERS = {
    10: re.compile(r"[-+]?[0-9]+(?:_[0-9]+)*"),
    8: re.compile(r"0o[0-7]+"),
    16: re.compile(r"0x[0-9a-fA-F]+"),
}
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")

_HINTS = {
    r"'\t'": "; write spaces, not tabs",
    "cannot start any token": "; put the text in quotes",
    "not allowed here": "; put a text with ': ' or '- ' in quotes, and keys that belong together "
    "into one column",
}

_FLOW_STARTS = ("[", "{", '"', "'")
# Control characters, and what YAML 1.1 takes for a line's end or nothing and YAML 1.2 does not.
_REFUSED_CHARACTER = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def read_yaml(path: Path) -> Any:
    """The plain values of a YAML file; None for an empty one.

    Raises:
        UsageError: it cannot be read, or is not one document of these rules; names the place.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such configuration file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    if len(content) > MAX_BYTES:
        raise UsageError(f"{path}: is larger than {MAX_BYTES:,} bytes; not a configuration file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}: line {line}: is not UTF-8; save the file as UTF-8") from None
    return parse_yaml(text, origin=str(path))


def parse_yaml(text: str, *, origin: str) -> Any:
    """The plain values of one YAML document; None where there is nothing.

    Raises:
        UsageError: ``origin``, line, column and the key that was being read.
    """
    return _Reader(text, origin).document()


def parse_value(text: str, *, origin: str) -> Any:
    """The value of one ``key=value``: all of ``text``, blanks and ``#`` included.

    A text that begins with a bracket, a brace or a quote is YAML's flow form; any other is one
    scalar.

    >>> parse_value("st #1", origin="override")
    'st #1'
    >>> parse_value("{kind: steps, steps: 1_000}", origin="override")
    {'kind': 'steps', 'steps': 1000}

    Raises:
        UsageError: ``origin`` and what is wrong.
    """
    if text.startswith(_FLOW_STARTS):
        return _Reader(text, origin).flow_value()
    try:
        return scalar(text)
    except ValueError as error:
        raise UsageError(f"{origin}: {error}") from None


def scalar(text: str) -> Scalar:
    """What an unquoted text means.

    >>> [scalar(text) for text in ("1_000", "010", "0x1F", "1e5", "on", "1:30", "~")]
    [1000, 10, 31, 100000.0, 'on', '1:30', None]

    Raises:
        ValueError: a number beyond what can be held.
    """
    if text in _WORDS:
        return _WORDS[text]
    for base, pattern in _INTEGERS.items():
        if pattern.fullmatch(text):
            return _integer(text, base)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise ValueError(f"the number {shortened(text)} is too large; a text is put in quotes")
        return number
    return text


def dump_yaml(values: Any) -> str:
    """Plain values as YAML that ``parse_yaml`` (and YAML 1.1) reads back to equal ones."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _integer(text: str, base: int) -> int:
    try:
        number = int(text, base)
        str(number)  # only of decimal digits does Python's own limit hold while they are read
    except ValueError:
        raise ValueError(f"the number {shortened(text)} has {len(text):,} digits") from None
    return number


class _Reader:
    """Builds values from PyYAML's events, and knows at every point which key it is at."""

    def __init__(self, text: str, origin: str) -> None:
        self._text = text
        self._origin = origin
        self._at: tuple[str, ...] = ()
        self._end: Any = None  # mark of where the value read last ends
        self._events = self._checked_events()

    def document(self) -> Any:
        """The value of the only document."""
        next(self._events)  # the stream's start
        start = next(self._events)
        if isinstance(start, yaml.StreamEndEvent):
            return None
        if start.version not in (None, (1, 2)):
            raise self._mistake(start.start_mark, "%YAML asks for another version than 1.2")
        value = self._value(next(self._events), ())
        next(self._events)  # the document's end
        end = next(self._events)
        if not isinstance(end, yaml.StreamEndEvent):
            raise self._mistake(end.start_mark, "a second document begins; give one alone")
        return value

    def flow_value(self) -> Any:
        """The only value: quoted or in brackets, and nothing behind it."""
        next(self._events)
        next(self._events)
        first = next(self._events)
        value = self._value(first, ())
        # What follows would be a comment, or make the value a key: neither is meant.
        if self._end.index != len(self._text.rstrip()) or not getattr(first, "flow_style", True):
            raise self._mistake(
                self._end, "goes on behind its end; a text that begins so is put in quotes"
            )
        return value

    def _value(self, event: Any, path: tuple[str, ...]) -> Any:
        self._at = path
        self._refuse_references(event)
        if len(path) > MAX_DEPTH:
            raise self._mistake(event.start_mark, f"is nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.MappingStartEvent):
            value: Any = self._mapping(path)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path)
        else:
            value = self._scalar(event)
            self._end = event.end_mark
        return value

    def _mapping(self, path: tuple[str, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for event in self._until(yaml.MappingEndEvent):
            self._refuse_references(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise self._mistake(event.start_mark, "a key must be a text")
            key = event.value
            self._at = (*path, key)
            if key in values:
                raise self._mistake(
                    event.start_mark, f"is given twice (first in line {lines[key]})"
                )
            lines[key] = event.start_mark.line + 1
            values[key] = self._value(next(self._events), self._at)
        return values

    def _sequence(self, path: tuple[str, ...]) -> list[Any]:
        return [
            self._value(event, (*path, str(index)))
            for index, event in enumerate(self._until(yaml.SequenceEndEvent))
        ]

    def _until(self, end: type[yaml.Event]) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, end):
                self._end = event.end_mark
                return
            yield event

    def _scalar(self, event: Any) -> Scalar:
        unquoted = event.implicit[0]
        try:
            return scalar(event.value) if unquoted else event.value
        except ValueError as error:
            raise self._mistake(event.start_mark, str(error)) from None

    def _refuse_references(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            problem = "anchors and aliases (&, *) are not taken; write the value out"
            raise self._mistake(event.start_mark, problem)
        if getattr(event, "tag", None) is not None:
            raise self._mistake(
                event.start_mark, "tags (!) are not taken; leave it out, or quote the text"
            )

    def _checked_events(self) -> Iterator[Any]:
        wrong = _REFUSED_CHARACTER.search(self._text)
        if wrong:
            line = self._text.count("\n", 0, wrong.start()) + 1
            column = wrong.start() - self._text.rfind("\n", 0, wrong.start())
            raise UsageError(
                f"{self._origin}: line {line}, column {column}: the character "
                f"U+{ord(wrong[0]):04X} cannot stand here; "
                "leave it out, or write it as an escape in double quotes"
            )
        mark = yaml.Mark(self._origin, 0, 0, 0, None, None)
        try:
            for event in yaml.parse(self._text, Loader=yaml.SafeLoader):
                mark = event.end_mark
                yield event
        except yaml.MarkedYAMLError as error:
            raise self._mistake(error.problem_mark, _explained(error)) from None
        except (ValueError, OverflowError):  # PyYAML makes a character of any number
            problem = r"an escape behind here is no character; the last one is \U0010FFFF"
            raise self._mistake(mark, problem) from None

    def _mistake(self, mark: yaml.Mark, problem: str) -> UsageError:
        key = f"'{shortened('.'.join(self._at))}': " if self._at else ""
        place = f"line {mark.line + 1}, column {mark.column + 1}"
        return UsageError(f"{self._origin}: {place}: {key}{problem}")


def _explained(error: yaml.MarkedYAMLError) -> str:
    """The parser's problem, where the thing begins that it is in, and what usually helps."""
    problem = str(error.problem)
    begun = error.context_mark
    inside = f" ({error.context} that begins in line {begun.line + 1})" if begun else ""
    hint = next((hint for words, hint in _HINTS.items() if words in problem), "")
    return f"{problem}{inside}{hint}"


class _Dumper(yaml.SafeDumper):
    """Quotes a text that YAML 1.1 or our rules would take for something else.

    Numbers and words are written as PyYAML does: in forms that both read alike.
    """

    def text(self, text: str) -> yaml.ScalarNode:
        """A text's node; double quotes are the form that has escapes."""
        style = '"' if _REFUSED_CHARACTER.search(text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.text)
# A resolver that matches keeps a text from being written without quotes; its tag is never written.
for _pattern in (*_INTEGERS.values(), _FLOAT):
    _Dumper.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(rf"(?:{_pattern.pattern})\Z"), list("-+.0123456789")
    )
