"""``key.sub=value``: one value of a configuration replaced, by the rules of its files.

The key names a place: names and, in lists, positions from 0, with dots between. Sections on the
way that are absent (or null) are made; a list has the entries that it has. The value is all of the
text behind the first ``=`` (``yaml_text.parse_value``); nothing at all is null, as in a file. It
replaces what stood there, whole: a choice given anew takes no field of the one before. Of two
values for one place the later counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxylm.errors import UsageError, shortened
from proxylm.yaml_text import parse_value


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set the value that ``override`` names, in place.

    >>> values = {"data": [{"store": "views/mine"}]}
    >>> apply_override(values, "data.0.view=bpe")
    >>> values
    {'data': [{'store': 'views/mine', 'view': 'bpe'}]}

    Raises:
        UsageError: it is not ``key.sub=value``, its value cannot be read, or there is no such
            place.
    """
    key, equals, text = override.partition("=")
    origin = f"override '{shortened(override)}'"
    if not equals or not all(key.split(".")):
        raise UsageError(f"{origin}: expected key.sub=value")
    put(values, key, parse_value(text, origin=origin), origin=origin)


def put(values: dict[str, Any], key: str, value: Any, *, origin: str) -> None:
    """Set the value at ``key`` (with dots between), in place.

    Raises:
        UsageError: there is no such place; ``origin`` begins the line.
    """
    *sections, last = key.split(".")
    holder: Any = values
    for depth, part in enumerate(sections):
        place = _place(holder, part, _its(origin, sections[:depth]))
        below = holder.get(place) if isinstance(holder, dict) else holder[place]
        if below is None:
            below = holder[place] = {}
        holder = below
    holder[_place(holder, last, _its(origin, sections))] = value


def _its(origin: str, sections: Sequence[str]) -> str:
    return f"{origin}: '{shortened('.'.join(sections))}'"


def _place(holder: Any, part: str, its: str) -> Any:
    """The key or position in ``holder`` that ``part`` names; ``its`` begins the error's line."""
    if isinstance(holder, dict):
        return part
    if not isinstance(holder, list):
        raise UsageError(f"{its} is {shortened(repr(holder))}, which has no '{shortened(part)}'")
    if not holder:
        raise UsageError(f"{its} is an empty list; give it whole")
    if not (part.isascii() and part.isdigit() and len(part) < 10 and int(part) < len(holder)):
        raise UsageError(f"{its} has the positions 0 to {len(holder) - 1}, not '{shortened(part)}'")
    return int(part)
