"""Pydantic's schema of a configuration class, made strict where conversion would guess.

Pydantic takes ``true`` for 1, ``"3"`` for 3 and ``"on"`` for true. Its own strict mode refuses
that, and with it lists for tuples and texts for paths, which is how both are written in YAML. So
strictness is set on numbers and truth values alone.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MAX_EXACT_FLOAT = 2.0**53
"""Up to here a float that is a whole number is the number that was written."""

UNKNOWN_KIND = "unknown_kind"
"""Type of the error where the fields of a choice do not say which choice they are of."""


def strict_schema(schema: Any) -> Any:
    """A schema of pydantic's whose truth values and numbers are of the type that is asked for."""
    if isinstance(schema, list):
        return [strict_schema(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    # These two hold values; but where names stand for schemas, they are names.
    values = ("default", "metadata") if isinstance(kind, str) else ()
    schema = {key: part if key in values else strict_schema(part) for key, part in schema.items()}
    if kind in ("bool", "float"):
        return schema | {"strict": True}
    if kind == "int":
        strict = cast(CoreSchema, schema | {"strict": True})
        return core_schema.no_info_before_validator_function(_as_integer, strict)
    if kind == "literal" and {type(one) for one in schema["expected"]} == {int}:
        literal = cast(CoreSchema, schema)
        return core_schema.no_info_before_validator_function(_no_truth_value, literal)
    if kind == "tagged-union":
        return schema | _answer_to_unknown_kinds(schema)
    return schema


def _as_integer(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT_FLOAT:
        return int(value)
    is_foreign = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return int(value) if is_foreign else value  # numpy's integers


def _no_truth_value(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic holds true for the 1 among the choices
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


def _answer_to_unknown_kinds(union: dict[str, Any]) -> dict[str, Any]:
    named = union["discriminator"]
    key = named if isinstance(named, str) else "kind"
    return {
        # Given a name alone, pydantic has answers of its own to what has no such key.
        "discriminator": _kind_under(named) if isinstance(named, str) else named,
        "custom_error_type": UNKNOWN_KIND,
        "custom_error_message": "give fields with a '{key}' out of: {kinds}",
        "custom_error_context": {"key": key, "kinds": ", ".join(union["choices"])},
    }


def _kind_under(key: str) -> Callable[[Any], str | None]:
    def kind_of(value: Any) -> str | None:
        kind = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
        return kind if isinstance(kind, str) else None

    return kind_of
