"""Configuration: frozen, keyword-only, strict; YAML plus ``key.sub=value`` overrides.

Every configuration class of the project derives from ``Config`` and is validated where it is
defined. ``load_config`` reads a YAML file, applies overrides and returns the validated value;
any mistake is one line that names the key and, for an unknown one, the nearest known key.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, ValidationError

from proxylm.errors import UsageError


class Config(BaseModel):
    """Base of all configuration: unknown keys, NaN and infinity are refused; values are frozen."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )


ConfigType = TypeVar("ConfigType", bound=Config)


def load_config(
    config_class: type[ConfigType], path: Path | None = None, overrides: Sequence[str] = ()
) -> ConfigType:
    """Read ``path`` (YAML, may be None), apply ``key.sub=value`` overrides, validate.

    Raises:
        UsageError: the file cannot be read, or a key or value is wrong; the message names it.
    """
    try:
        loaded = OmegaConf.load(path) if path else OmegaConf.create({})
        for override in overrides:
            key, equals, value = override.partition("=")
            if not key or not equals:
                raise UsageError(f"override '{override}': expected key.sub=value")
            # Replaced, not merged: a choice given whole takes no field of the one before.
            OmegaConf.update(loaded, key, yaml.safe_load(value), merge=False)
        values = OmegaConf.to_container(loaded, resolve=True)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such configuration file") from None
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, TypeError, OSError) as error:
        first_line = str(error).splitlines()[0]
        raise UsageError(f"{path or 'overrides'}: cannot be read as YAML ({first_line})") from None
    return validate_config(config_class, values, origin=str(path or "configuration"))


def validate_config(
    config_class: type[ConfigType], values: Any, *, origin: str = "configuration"
) -> ConfigType:
    """Validate plain values; the first mistake becomes a one-line ``UsageError``."""
    if not isinstance(values, Mapping):
        raise UsageError(f"{origin}: expected keys and values, found {type(values).__name__}")
    try:
        return config_class.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{origin}: {_first_mistake(config_class, error, values)}") from None


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML; ``load_config`` reads it back to an equal value."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _first_mistake(
    config_class: type[Config], error: ValidationError, values: Mapping[str, Any]
) -> str:
    # Unknown keys come first: a typo usually also leaves a required key missing.
    mistakes = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    first = mistakes[0]
    key = _key(values, first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}'{_suggestion(config_class, str(first['loc'][-1]))}"
    message = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    shown = "" if isinstance(given, Mapping | list | Config) else f" (given: {given!r})"
    # A mistake of the whole has no key; the caller names where the whole comes from.
    return f"{key}: {message}{shown}" if key else f"{message}{shown}"


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
