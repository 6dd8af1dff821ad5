"""Configuration: frozen, keyword-only, strict; YAML plus ``key.sub=value`` overrides.

Every configuration class of the project derives from ``Config`` and is validated where it is
defined. ``load_config`` reads a YAML file, applies overrides and returns the validated value;
any mistake is one line that names the key and, for an unknown one, the nearest known key. What
YAML is here is said in ``yaml_text``, how files build on each other in ``config_files``, what an
override is in ``overrides``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic._internal._model_construction import ModelMetaclass
from pydantic_core import CoreSchema

from proxylm.config_files import read_config_file
from proxylm.errors import UsageError, shortened
from proxylm.overrides import apply_override
from proxylm.printable import printable
from proxylm.strict_schema import UNKNOWN_KIND, strict_schema
from proxylm.yaml_text import dump_yaml

_HINTS = {
    "bool_type": "; write true or false",
    "string_type": """; put it in quotes, as an argument of a command in two kinds: key='"text"'""",
    "string_unicode": "; rename what it names, or give a relative path from inside that folder",
}


class _SaysInOneLine(ModelMetaclass):
    """Calling the class says what is wrong as reading a file does; pydantic takes several lines."""

    def __call__(cls, **values: Any) -> Any:  # noqa: N805
        try:
            return super().__call__(**values)
        except ValidationError as error:
            mistake = _first_mistake(cls, error, values, None)  # type: ignore[arg-type]
            raise UsageError(f"{cls.__name__}: {mistake}") from None


class Config(BaseModel, metaclass=_SaysInOneLine):
    """Base of all configuration: unknown keys, NaN and infinity are refused; values are frozen.

    Truth values, numbers and texts are never taken for each other; only a whole number may be
    written as a float (``1e5``).

    Raises:
        UsageError: a key or a value is wrong; the message names it.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's schema with strict scalars, and one answer to a kind that is not known."""
        schema = handler(source)
        if cls.model_config.get("strict"):
            return schema  # a protocol's class, in which 1.0 is no integer either
        own = handler.resolve_ref_schema(schema)
        cast(dict[str, Any], own).update(strict_schema(own))
        return schema


ConfigType = TypeVar("ConfigType", bound=Config)


def added_field(default: Any) -> Any:
    """A field that came later: at its default it is not written.

    What was written before it has the same hash as today, and is compared as the same.
    """
    return Field(default=default, exclude_if=lambda value: bool(value == default))


def load_config(
    config_class: type[ConfigType], path: Path | None = None, overrides: Sequence[str] = ()
) -> ConfigType:
    """Read a configuration, apply ``key.sub=value`` overrides, validate.

    Args:
        config_class: what it is of.
        path: a YAML file, or the name of a shipped configuration (``proxylm.config_files`` says
            how files build on others); None for the defaults.
        overrides: values to replace.

    Raises:
        UsageError: the file cannot be read, or a key or value is wrong; the message names it.
    """
    values, origin = {}, "configuration"
    if path is not None:
        file = read_config_file(path)
        values, origin = deepcopy(file.values), file.origin
    for override in overrides:
        apply_override(values, override)
    return validate_config(config_class, values, origin=origin)


def validate_config(
    config_class: type[ConfigType],
    values: Any,
    *,
    origin: str = "configuration",
    names: Mapping[str, str] | None = None,
) -> ConfigType:
    """Validate plain values; the first mistake becomes a one-line ``UsageError``.

    Args:
        config_class: what they are of.
        values: by key.
        origin: where they come from; begins the line.
        names: what some keys (with dots between) and all below are called there; the line has no
            others then.

    Raises:
        UsageError: a key or a value is wrong; the message names it.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"{origin}: expected keys and values, found {type(values).__name__}")
    try:
        return config_class.model_validate(values)
    except ValidationError as error:
        mistake = _first_mistake(config_class, error, values, names)
        raise UsageError(f"{origin}: {mistake}") from None
    except UsageError as error:  # a check that fields make of each other
        raise UsageError(f"{origin}: {error}") from None


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML; ``load_config`` reads it back to an equal value."""
    return dump_yaml(plain_config(config))


def plain_config(config: Config) -> dict[str, Any]:
    """The configuration as it is saved: keys, lists, texts, numbers, truth values and None."""
    return config.model_dump(mode="json")


def _first_mistake(
    config_class: type[Config],
    error: ValidationError,
    values: Mapping[str, Any],
    names: Mapping[str, str] | None,
) -> str:
    # Unknown keys come first: a typo usually also leaves a required key missing.
    mistakes = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    first = mistakes[0]
    key = _key(values, first["loc"])
    given = first.get("input")
    is_choice = first["type"] == UNKNOWN_KIND and isinstance(given, Mapping)
    if is_choice:
        key = f"{key}.{first['ctx']['key']}"
    if names is not None:
        key = _name(key, names)
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}'{_suggestion(config_class, str(first['loc'][-1]))}"
    if is_choice:
        return f"{key}: {_kind_mistake(given, **first['ctx'])}"
    is_utf8 = first["type"] != "string_unicode"
    message = first["msg"].removeprefix("Value error, ") if is_utf8 else "must be UTF-8"
    if not isinstance(given, Mapping | list | Config):
        text = shortened(repr(given)) if is_utf8 else f"'{printable(given)}'"
        message += f" (given: {text}){_HINTS.get(first['type'], '')}"
    # A mistake of the whole has no key; the caller names where the whole comes from.
    return f"{key}: {message}" if key else message


def _kind_mistake(given: Mapping[str, Any], *, key: str, kinds: str) -> str:
    if given.get(key) is None:
        return f"is missing; give one of: {kinds}"
    near = difflib.get_close_matches(str(given[key]), kinds.split(", "), n=1)
    meant = f"; did you mean '{near[0]}'?" if near else ""
    return f"there is no {shortened(repr(given[key]))}; there are: {kinds}{meant}"


def _key(values: Any, location: Sequence[str | int]) -> str:
    """A mistake's place as it is written in YAML: without the kinds that pydantic puts between."""
    parts: list[str] = []
    kind_may_follow = False
    for part in location[:-1]:
        is_key = isinstance(values, Mapping) and part in values
        if kind_may_follow and isinstance(values, Mapping):
            kind_may_follow = False
            if part == values.get("kind") or not is_key:
                continue
        parts.append(str(part))
        values = _below(values, part)
        kind_may_follow = True
    return ".".join([*parts, *map(str, location[-1:])])


def _name(key: str, names: Mapping[str, str]) -> str:
    """What the key, or the nearest section around it, is called."""
    while key and key not in names:
        key = key.rpartition(".")[0]
    return names.get(key, "")


def _below(values: Any, part: str | int) -> Any:
    if isinstance(values, Mapping):
        return values.get(part)
    if isinstance(values, list | tuple) and isinstance(part, int) and part < len(values):
        return values[part]
    return None


def _suggestion(config_class: type[Config], unknown: str) -> str:
    if unknown in _all_keys(config_class):
        return "; that key belongs to another place or another 'kind'"
    near = difflib.get_close_matches(unknown, sorted(_all_keys(config_class)), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _all_keys(config_class: type[BaseModel]) -> set[str]:
    schema = config_class.model_json_schema()
    keys = set(schema.get("properties", {}))
    for definition in schema.get("$defs", {}).values():
        keys |= set(definition.get("properties", {}))
    return keys
