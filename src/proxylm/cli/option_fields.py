"""What a field of a configuration says about the option that fills it."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, get_args

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from proxylm.config import Config
from proxylm.yaml_text import parse_value

NOTHING = "none"
"""Stands for null where an option switches off what is on by default."""

SHOWN_BOUND = 1 << 31
"""Bounds from here on are the machine's, and help nobody who reads them."""

_ATTRIBUTE = re.compile(r"    (\w[\w, ]*): (.*)")
_WORDS = {"string": "str", "integer": "int", "number": "float"}


@dataclass(frozen=True, kw_only=True)
class OptionField:
    """One field.

    Attributes:
        place: where it stands in its configuration, with dots between.
        forms: what one value may be, as JSON schemas without references.
        is_list: whether it holds several, so that the option may be given repeatedly.
        default: its value unless it is given; ``PydanticUndefined`` where it must be.
        description: what it means.
    """

    place: str
    forms: Sequence[Mapping[str, Any]]
    is_list: bool
    default: Any
    description: str

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is PydanticUndefined

    @property
    def is_flag(self) -> bool:
        """Whether giving the option is all that it says."""
        return any(form.get("type") == "boolean" for form in self.forms)

    @property
    def choices(self) -> list[str]:
        """The values that there are, where they can be listed."""
        words = [f"{word}" for form in self.forms for word in _choices(form)]
        return list(dict.fromkeys(words))

    @property
    def metavar(self) -> str:
        """The choices, or the type and the bounds, for reading."""
        if self.choices:
            return f"<{'|'.join(self.choices)}>"
        form = next(form for form in self.forms if form.get("type") in _WORDS)
        word = "path" if form.get("format") == "path" else _WORDS[form["type"]]
        low = _bound(form, "minimum", "exclusiveMinimum", 1)
        high = _bound(form, "maximum", "exclusiveMaximum", -1)
        return f"<{word} {low}..{high}>" if low or high else f"<{word}>"

    @property
    def help(self) -> str:
        """The description, as a sentence, and the default, unless it says that itself."""
        text = self.description[:1].upper() + self.description[1:]
        text = text.replace("``", "")
        if self.is_list and "repeatedly" not in text:
            text += " May be given repeatedly."
        default = self.default.value if isinstance(self.default, Enum) else self.default
        is_told = self.is_required or self.is_flag or "(default: " in text
        return text if is_told or default in (None, ()) else f"{text} (default: {default})"

    def value_of(self, given: Any, flag: str) -> Any:
        """The plain value of what was given: a truth value, a text, or texts.

        Raises:
            UsageError: a text is no value; names the option.
        """
        if isinstance(given, list):
            return tuple(self._plain(text, flag) for text in given)
        return given if self.is_flag else self._plain(given, flag)

    def _plain(self, text: str, flag: str) -> Any:
        formats = {form.get("format") for form in self.forms}
        types = {form.get("type") for form in self.forms}
        if "binary" in formats:
            return os.fsencode(text)  # the arguments' own bytes, whatever the locale made of them
        if text == NOTHING and "null" in types and self.default is not None:
            return None
        return text if "string" in types else parse_value(text, origin=flag)


def option_field(config: type[Config], place: str, default: Any = None) -> OptionField:
    """The field at a place; ``default`` is one in place of the class's.

    >>> from proxylm.evaluation.answers.options import SamplingPlan
    >>> field = option_field(SamplingPlan, "budget.max_symbols")
    >>> field.metavar, field.default
    ('<int 1..>', 512)
    """
    types: list[Any] = [Annotated[info.annotation, info] for _, info in _fields(config, place)]
    schemas = [TypeAdapter(one).json_schema() for one in types]
    return OptionField(
        place=place,
        forms=[form for one in schemas for form in _forms(one, one.get("$defs", {}))],
        is_list=any(one.get("type") == "array" for one in schemas),
        default=_default(config, place) if default is None else default,
        description=_description(config, place),
    )


def _fields(annotation: Any, place: str) -> Iterator[tuple[type[Config], FieldInfo]]:
    """The field at a place, in each of the classes of a choice that have it."""
    first, _, rest = place.partition(".")
    for config in _configs(annotation):
        info = config.model_fields.get(first)
        if info is not None and rest:
            yield from _fields(info.annotation, rest)
        elif info is not None:
            yield config, info


def _configs(annotation: Any) -> Iterator[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    for part in get_args(annotation):
        yield from _configs(part)


def _forms(schema: Mapping[str, Any], named: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The alternatives of a schema, of a list those of what is in it."""
    if "$ref" in schema:
        yield from _forms(named[schema["$ref"].rpartition("/")[2]], named)
    elif schema.get("type") == "array":
        yield from _forms(schema["items"], named)
    elif "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from _forms(one, named)
    else:
        yield schema


def _choices(form: Mapping[str, Any]) -> Sequence[Any]:
    return [form["const"]] if "const" in form else form.get("enum", ())


def _bound(form: Mapping[str, Any], inclusive: str, exclusive: str, step: int) -> str:
    """A bound as text, that of an integer within the range; empty where there is none."""
    bound = form.get(inclusive)
    if bound is None and exclusive in form:
        bound = form[exclusive] + (step if form["type"] == "integer" else 0)
    return "" if bound is None or abs(bound) >= SHOWN_BOUND else str(bound)


def _default(config: type[Config], place: str) -> Any:
    """What the class's own default has there; of a choice it does not make, the field's."""
    _, info = next(_fields(config, place))
    first, *rest = place.split(".")
    value = config.model_fields[first].default
    for part in rest:
        value = getattr(value, part, PydanticUndefined)
    return info.default if value is PydanticUndefined else value


def _description(config: type[Config], place: str) -> str:
    """What a class says of the field; of a choice's kind, of the field that has the choice."""
    section, _, name = place.rpartition(".")
    for owner, _ in _fields(config, place):
        if told := _descriptions(owner).get(name):
            return told
    assert section, f"{config.__name__} does not say what {place} is"
    return _description(config, section)


@cache
def _descriptions(config: type) -> dict[str, str]:
    """The ``Attributes:`` of a class and of those it derives from."""
    found: dict[str, str] = {}
    names: list[str] = []
    for one in reversed(config.__mro__):
        _, _, section = inspect.cleandoc(one.__dict__.get("__doc__") or "").partition("Attributes:")
        for line in section.splitlines():
            if begins := _ATTRIBUTE.fullmatch(line):
                names = begins[1].split(", ")
                found |= dict.fromkeys(names, begins[2])
            elif line.startswith("     "):
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
