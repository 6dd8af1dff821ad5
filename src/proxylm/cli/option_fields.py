"""What a field of a configuration says about the option that fills it."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache, cached_property
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from proxylm.config import Config
from proxylm.yaml_text import parse_value

NOTHING = "none"
"""Stands for null where an option can be switched off."""

_SHOWN_BOUND = 1 << 31
"""Bounds from here on are the machine's, and help nobody who reads them."""

_ATTRIBUTE = re.compile(r"    (\w[\w, ]*): (.*)")


@dataclass(frozen=True, kw_only=True)
class OptionField:
    """One field.

    Attributes:
        place: where it stands in its configuration, with dots between.
        annotation: its type.
        bounds: what pydantic checks of it beside the type.
        choices: the words that it may be; none where it is something else.
        default: what it is unless it is given; ``PydanticUndefined`` where it must be.
        description: what it means.
    """

    place: str
    annotation: Any
    bounds: Sequence[Any]
    choices: Sequence[str]
    default: Any
    description: str

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is PydanticUndefined

    @property
    def is_flag(self) -> bool:
        """Whether giving the option is all that it says."""
        return bool in self._types

    @property
    def is_list(self) -> bool:
        """Whether the option may be given repeatedly."""
        return any(get_origin(one) is tuple for one in _union(self.annotation))

    @property
    def argument_type(self) -> Any:
        """What the parser makes of the option: texts, or a truth value."""
        if self.is_flag:
            return bool | None
        return list[str] | None if self.is_list else str | None

    @property
    def metavar(self) -> str:
        """The type, the bounds and the choices, for reading."""
        if self.choices:
            return f"<{'|'.join(self.choices)}>"
        number = next((one.__name__ for one in self._types if one in (int, float)), None)
        text = "path" if Path in self._types else "str"
        return f"<{number}{self._range()}>" if number else f"<{text}>"

    @property
    def help(self) -> str:
        """The description, as a sentence, and the default, unless it says that itself."""
        text = self.description[:1].upper() + self.description[1:].replace("``", "")
        text = text.removeprefix("`").removeprefix("`")
        if self.is_list and "repeatedly" not in text:
            text += " May be given repeatedly."
        default = self.default.value if isinstance(self.default, Enum) else self.default
        is_told = self.is_required or self.is_flag or "(default: " in text
        return text if is_told or default in (None, ()) else f"{text} (default: {default})"

    def value_of(self, given: Any, flag: str) -> Any:
        """The plain value of what was given.

        Raises:
            UsageError: a text is no value; names the option.
        """
        if isinstance(given, list):
            return tuple(self._plain(text, flag) for text in given)
        return given if self.is_flag else self._plain(given, flag)

    @cached_property
    def _types(self) -> list[Any]:
        inner = [
            get_args(one)[0] if get_origin(one) is tuple else one for one in _union(self.annotation)
        ]
        return [one for part in inner for one in _union(part) if one is not type(None)]

    def _plain(self, text: str, flag: str) -> Any:
        if bytes in self._types:
            return os.fsencode(text)  # the arguments' own bytes, whatever the locale made of them
        can_be_nothing = type(None) in _union(self.annotation) and self.default is not None
        if can_be_nothing and text == NOTHING:
            return None
        is_text = any(
            isinstance(one, type) and issubclass(one, str | Path | Enum) for one in self._types
        )
        if is_text or (self.choices and not self._is_number):
            return text
        return parse_value(text, origin=flag)

    @property
    def _is_number(self) -> bool:
        """Whether all choices are numbers."""
        return all(choice.isdigit() for choice in self.choices)

    def _range(self) -> str:
        """The bounds; those of integers belong to the range."""
        step = 1 if int in self._types else 0
        ends = []
        for inclusive, exclusive, inside in (("ge", "gt", step), ("le", "lt", -step)):
            values = [getattr(one, inclusive, None) for one in self.bounds]
            values += [
                value + inside
                for one in self.bounds
                if (value := getattr(one, exclusive, None)) is not None
            ]
            shown = [f"{v}" for v in values if v is not None and abs(v) < _SHOWN_BOUND]
            ends.append("".join(shown[:1]))
        return f" {'..'.join(ends)}" if any(ends) else ""


def option_field(config: type[Config], place: str, default: Any = None) -> OptionField:
    """The field at a place; ``default`` is one in place of the class's.

    >>> from proxylm.evaluation.answers.options import SamplingPlan
    >>> option_field(SamplingPlan, "budget.max_symbols").metavar
    '<int 1..>'
    """
    found = list(_found(config, place.split(".")))
    assert found, f"{config.__name__} has no {place}"
    _, info = found[0]
    if default is None:
        default = _default(config, place.split("."), info)
    return OptionField(
        place=place,
        annotation=info.annotation,
        bounds=[*info.metadata, *_inner_bounds(info.annotation)],
        choices=list(dict.fromkeys(word for _, one in found for word in _choices(one.annotation))),
        default=default,
        description=_description(config, place),
    )


def _found(annotation: Any, parts: Sequence[str]) -> Iterator[tuple[type[Config], FieldInfo]]:
    """The field in each of the classes that a choice has, where it is in several."""
    first, *rest = parts
    for config in _configs(annotation):
        info = config.model_fields.get(first)
        if info is not None and rest:
            yield from _found(info.annotation, rest)
        elif info is not None:
            yield config, info


def _configs(annotation: Any) -> Iterator[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    for part in get_args(annotation):
        yield from _configs(part)


def _default(config: type[Config], parts: Sequence[str], info: FieldInfo) -> Any:
    """What the class's own default has there; of a choice it does not make, the field's."""
    value = config.model_fields[parts[0]].get_default(call_default_factory=True, validated_data={})
    for part in parts[1:]:
        value = getattr(value, part, PydanticUndefined)
    if value is PydanticUndefined:
        value = info.get_default(call_default_factory=True, validated_data={})
    return value


def _union(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _union(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [one for part in get_args(annotation) for one in _union(part)]
    return [annotation]


def _inner_bounds(annotation: Any) -> list[Any]:
    """Those of the alternatives, ``PositiveInt | None`` for instance."""
    own = list(getattr(annotation, "__metadata__", ()))
    return own + [one for part in get_args(annotation) for one in _inner_bounds(part)]


def _choices(annotation: Any) -> list[str]:
    words: list[str] = []
    for one in _union(annotation):
        if get_origin(one) is Literal:
            words += map(str, get_args(one))
        elif isinstance(one, type) and issubclass(one, Enum):
            words += [str(member.value) for member in one]
    return words


def _description(config: type[Config], place: str) -> str:
    """What a class says of the field; of a choice's kind, of the field that has the choice."""
    section, _, name = place.rpartition(".")
    for owner, info in _found(config, place.split(".")):
        if told := info.description or _descriptions(owner).get(name):
            return told
    assert section, f"{config.__name__} does not say what {place} is"
    return _description(config, section)


@cache
def _descriptions(config: type) -> dict[str, str]:
    """The ``Attributes:`` of a class and of those it derives from."""
    found: dict[str, str] = {}
    for one in reversed(config.__mro__[:-1]):
        _, _, section = inspect.cleandoc(one.__dict__.get("__doc__") or "").partition("Attributes:")
        for line in section.splitlines():
            begins = _ATTRIBUTE.fullmatch(line)
            if begins:
                names = begins[1].split(", ")
                found |= dict.fromkeys(names, begins[2])
            elif line.startswith("     "):
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
