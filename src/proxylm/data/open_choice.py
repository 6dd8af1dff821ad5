"""A field of a configuration that takes one of our kinds, or an object of the user's own.

YAML names one of our kinds by ``kind`` and gives its fields. From Python, any object will do that
has the members of the choice's protocol, ``fingerprint`` among them. An object of one's own cannot
be written as YAML; what stands there instead is its class and its fingerprint, which enter the
configuration's hash, so that a run goes on with an object of the same fingerprint and no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from proxylm.config import Config
from proxylm.errors import UsageError

OBJECT_KIND = "object"
"""What stands as ``kind`` in the YAML of a configuration with an object of the user's own."""

_Plain = Mapping | str | bytes | int | float | list | tuple | None
"""What YAML gives: never an object of the user's own."""


@dataclass(frozen=True, slots=True)
class RecordedObject:
    """An object that a configuration was written with, as its YAML names it: not the object."""

    class_name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class OpenChoice:
    """How pydantic reads and writes a field whose type is a protocol.

    Attributes:
        kinds: our classes, told apart in YAML by their ``kind``.
        default: the kind that is meant where YAML leaves it out.
    """

    kinds: tuple[type[Config], ...]
    default: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Pydantic's schema: our kinds by their fields, other objects by the protocol's members."""
        ours = core_schema.tagged_union_schema(
            {
                kind.model_fields["kind"].default: handler.generate_schema(kind)
                for kind in self.kinds
            },
            self._kind_of,
        )
        members = [name for name in vars(source) if not name.startswith("_")]

        def validate(value: Any, validate_ours: core_schema.ValidatorFunctionWrapHandler) -> Any:
            if isinstance(value, Mapping) and value.get("kind") == OBJECT_KIND:
                return _recorded(value)
            if isinstance(value, _Plain) or type(value) in self.kinds:
                return validate_ours(value)
            _require_members(value, source.__name__, members)
            return value

        def serialize(value: Any, write_ours: core_schema.SerializerFunctionWrapHandler) -> Any:
            return write_ours(value) if type(value) in self.kinds else _record(value)

        return core_schema.no_info_wrap_validator_function(
            validate,
            ours,
            serialization=core_schema.wrap_serializer_function_ser_schema(serialize, schema=ours),
        )

    def _kind_of(self, value: Any) -> Any:
        is_plain = isinstance(value, Mapping)
        return value.get("kind", self.default) if is_plain else getattr(value, "kind", None)


def _require_members(value: Any, protocol: str, members: list[str]) -> None:
    name = class_name_of(value)
    if isinstance(value, type):
        raise UsageError(f"{value.__name__}: is a class; give an object of it as {protocol}")
    missing = [member for member in members if not hasattr(value, member)]
    if missing:
        raise UsageError(f"{name}: is no {protocol}: it has no {', '.join(missing)}")
    if not isinstance(value.fingerprint, str) or not value.fingerprint:
        raise UsageError(
            f"{name}: its fingerprint must be a text that changes when what it computes does "
            f"(it is {value.fingerprint!r})"
        )


def class_name_of(value: Any) -> str:
    """The name of an object's class, for messages and for the YAML of a configuration."""
    return value.class_name if isinstance(value, RecordedObject) else type(value).__qualname__


def _record(value: Any) -> dict[str, str]:
    return {
        "kind": OBJECT_KIND,
        "class": class_name_of(value),
        "fingerprint": value.fingerprint,
    }


def _recorded(values: Mapping[str, Any]) -> RecordedObject:
    class_name, fingerprint = values.get("class"), values.get("fingerprint")
    if not isinstance(class_name, str) or not isinstance(fingerprint, str) or len(values) != 3:
        raise ValueError(f"an {OBJECT_KIND} is recorded by its class and its fingerprint")
    return RecordedObject(class_name, fingerprint)
