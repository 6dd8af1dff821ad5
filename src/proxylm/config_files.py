"""Configuration files that build on others, and those that ship with the package.

Three keys belong to the file and never reach the configuration that it describes:

    about: what the run is, in one line
    extends: paper/parts/python          # or several, of which a later one counts
    variants: {none: {...}, always: {...}}

What is extended is a file (relative to the one that names it) or a shipped configuration. The
file's own values are laid over it: mappings key by key, everything else whole. A choice of another
``kind`` is replaced whole too, since fields of the one before have no place in it.

A file with ``variants`` is a family of runs, each of which is the file with a few values replaced.
The variant ``none`` of ``pairs.yaml`` is called ``pairs.yaml/none``, as if the file were a folder.
A shipped configuration's name is its place in the package's ``configs`` without ``.yaml``; those
in a folder called ``parts`` are there to be extended, and are no runs of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from proxylm.errors import UsageError, shortened
from proxylm.yaml_text import read_yaml

SHIPPED = Path(__file__).with_name("configs")
"""The folder of shipped configurations."""

SUFFIX = ".yaml"
PARTS = "parts"
ABOUT, EXTENDS, VARIANTS = "about", "extends", "variants"
_WORD_AND_NUMBER = re.compile(r"([^0-9]+)([0-9]*)")


@dataclass(frozen=True, kw_only=True)
class ConfigValues:
    """What a configuration comes to.

    Attributes:
        values: by key, without the keys that belong to files.
        about: what the file, or its variant, says that it is; empty if nothing.
        origin: the file and all that it builds on, for messages.
    """

    values: dict[str, Any]
    about: str
    origin: str


@dataclass(frozen=True)
class _Place:
    """A file that has been read, or one of its variants."""

    path: Path
    document: Mapping[str, Any] = field(compare=False)
    variant: str | None = None

    @property
    def name(self) -> str:
        """The path, or the name of a shipped file."""
        path = str(self.path)
        if self.path.is_relative_to(SHIPPED):
            path = self.path.relative_to(SHIPPED).as_posix().removesuffix(SUFFIX)
        return path if self.variant is None else f"{path}/{self.variant}"

    @property
    def variants(self) -> Mapping[str, Mapping[str, Any]]:
        """Values of each variant; none of a file that is no family."""
        variants = self.document.get(VARIANTS, {})
        if not isinstance(variants, Mapping):
            raise UsageError(f"{self.path}: {VARIANTS}: expected names and their values")
        for name, values in variants.items():
            if not isinstance(values, Mapping):
                raise UsageError(f"{self.path}: {VARIANTS}.{name}: expected keys and values")
        return variants

    @property
    def parts(self) -> list[Mapping[str, Any]]:
        """What says something of it: the file, then the variant."""
        own = [] if self.variant is None else [self.variants[self.variant]]
        return [self.document, *own]


def read_config_file(name: Path) -> ConfigValues:
    """A configuration by its file's path or its shipped name, with all that it extends.

    Raises:
        UsageError: there is none of that name, it cannot be read, one of several variants has to
            be chosen, or files extend each other in a circle; the line names the file.
    """
    place = _found(name)
    if place is None:
        reason = "cannot be read (Is a directory)" if name.is_dir() else "no such file"
        raise UsageError(f"{name}: {reason}, and no shipped configuration ('proxylm configs list')")
    if place.variant is None and place.variants:
        variants = ", ".join(place.variants)
        raise UsageError(f"{name}: is a family; add one of its variants, '{name}/...': {variants}")
    values, names = _resolved(place, ())
    below = f" (with {', '.join(names[:-1])})" if names[1:] else ""
    about = next((str(part[ABOUT]) for part in reversed(place.parts) if ABOUT in part), "")
    return ConfigValues(values=values, about=about, origin=f"{name}{below}")


def shipped_configs() -> list[str]:
    """Names of the shipped runs, in the order of their files and variants."""
    names: list[str] = []
    for path in sorted(SHIPPED.rglob(f"*{SUFFIX}"), key=_in_order):
        if PARTS not in path.relative_to(SHIPPED).parts:
            place = _Place(path, _document(path))
            names += [f"{place.name}/{variant}" for variant in place.variants] or [place.name]
    return names


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Values of ``above`` over those of ``below``: mappings key by key, everything else whole.

    >>> laid_over({"a": {"x": 1, "y": 2}, "b": [1, 2]}, {"a": {"y": 3}, "b": [4]})
    {'a': {'x': 1, 'y': 3}, 'b': [4]}
    >>> laid_over({"a": {"kind": "one", "x": 1}}, {"a": {"kind": "two"}})
    {'a': {'kind': 'two'}}
    """
    merged = dict(below)
    for key, value in above.items():
        before: Any = merged.get(key)
        merged[key] = laid_over(before, value) if _go_together(before, value) else value
    return merged


def _go_together(*values: Any) -> bool:
    """Whether they are mappings, and no choices of two kinds."""
    if not all(isinstance(value, Mapping) for value in values):
        return False
    return len({str(value["kind"]) for value in values if "kind" in value}) < 2


def _in_order(path: Path) -> list[tuple[str, int]]:
    """Sorts names by the numbers in them: table2 before table13."""
    return [(text, int(number or 0)) for text, number in _WORD_AND_NUMBER.findall(str(path))]


def _found(name: Path, folder: Path = Path()) -> _Place | None:
    """What a name stands for: a file, a variant of one, or the same among the shipped ones."""
    is_inside = not name.is_absolute() and ".." not in name.parts
    shipped = [(SHIPPED, SUFFIX)] if is_inside else []
    for where, suffix in [(folder, ""), *shipped]:
        whole, family = (where / f"{path}{suffix}" for path in (name, name.parent))
        if whole.exists() and not whole.is_dir():
            return _Place(whole, _document(whole))
        if family.is_file():
            place = _Place(family, _document(family), name.name)
            if name.name in place.variants:
                return place
    return None


def _resolved(place: _Place, above: tuple[_Place, ...]) -> tuple[dict[str, Any], list[str]]:
    """The values of a place, and the names of all that they come from, its own last."""
    if place in above:
        circle = " -> ".join(one.name for one in (*above[above.index(place) :], place))
        raise UsageError(f"{above[-1].name}: {EXTENDS}: goes in a circle: {circle}")
    values: dict[str, Any] = {}
    names: list[str] = []
    for part in place.parts:
        for base in _bases(part, place):
            inherited, names_there = _resolved(base, (*above, place))
            values = laid_over(values, inherited)
            names += [name for name in names_there if name not in names]
        own = {key: value for key, value in part.items() if key not in (ABOUT, EXTENDS, VARIANTS)}
        values = laid_over(values, own)
    return values, [*names, place.name]


def _bases(part: Mapping[str, Any], place: _Place) -> Iterator[_Place]:
    given = part.get(EXTENDS, [])
    for name in given if isinstance(given, list) else [given]:
        if not isinstance(name, str) or not name:
            given = shortened(repr(name))
            raise UsageError(f"{place.name}: {EXTENDS}: {given} is no name of a configuration")
        base = _found(Path(name), place.path.parent)
        if base is None:
            raise UsageError(
                f"{place.name}: {EXTENDS}: there is no file '{shortened(name)}' beside it, and no "
                "shipped configuration of that name"
            )
        yield base


def _document(path: Path) -> Mapping[str, Any]:
    return _shipped_document(path) if path.is_relative_to(SHIPPED) else _read(path)


def _read(path: Path) -> Mapping[str, Any]:
    values = read_yaml(path)
    if not isinstance(values, Mapping | None):
        raise UsageError(f"{path}: expected keys and values, found {type(values).__name__}")
    return values or {}


# Shipped files do not change while a program runs, and many build on the same few.
_shipped_document = cache(_read)
