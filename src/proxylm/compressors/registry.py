"""Finding, saving and loading compressors by kind; other packages add kinds by entry point.

A saved compressor is a folder with ``compressor.json`` (format version, kind, settings, K,
fingerprint) and the kind's own files. Loading computes the fingerprint again: a folder that was
altered, or that a newer library reads differently, is refused instead of giving other symbols.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from proxylm.compressors.contract import Compressor
from proxylm.errors import DamagedFileError, UsageError
from proxylm.files import atomic_folder, is_there, read_json, write_json
from proxylm.yaml_text import parse_value

ENTRY_POINT_GROUP = "proxylm.compressors"
DESCRIPTION_FILE = "compressor.json"
FORMAT_VERSION = 1
_BETWEEN_SETTINGS = re.compile(r",(?=\w+=|$)")
"""Commas that a further ``key=`` follows, or nothing; others belong to a value (a path, a list)."""


def registered_kinds() -> list[str]:
    """The names of all installed compressors, ours and other packages'."""
    return sorted(_entry_points())


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def is_registered(compressor: Compressor) -> bool:
    """Whether a saved copy of this compressor can be loaded: its kind names its own class.

    Classes are compared by name, since a module may have been loaded again in the meantime.

    Raises:
        UsageError: its kind belongs to another class, so that a saved copy would be something else.
    """
    point = _entry_points().get(compressor.kind)
    if point is None:
        return False
    own = type(compressor)
    registered = compressor_class(compressor.kind)
    if (own.__module__, own.__qualname__) != (registered.__module__, registered.__qualname__):
        raise UsageError(
            f"compressor '{compressor.kind}' is {point.value}, and this one is of the class "
            f"{own.__qualname__}; give that class a kind of its own"
        )
    return True


def compressor_class(kind: str, origin: Path | None = None) -> type[Compressor]:
    """The class that is registered under a name.

    Args:
        kind: the name.
        origin: the folder that asks for it, for messages.

    Raises:
        UsageError: no installed package has it, or its class cannot be imported.
    """
    points = _entry_points()
    if kind not in points:
        raise UsageError(
            f"{f'{origin}: ' if origin else ''}compressor '{kind}' is not installed; "
            f"there are: {', '.join(sorted(points))}"
        )
    try:
        loaded = points[kind].load()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"compressor '{kind}' cannot be imported ({error})") from None
    if not (isinstance(loaded, type) and issubclass(loaded, Compressor)):
        raise UsageError(f"compressor '{kind}': {points[kind].value} is not a Compressor")
    return loaded


def load_compressor(path_or_name: str | Path) -> Compressor:
    """Load a saved compressor, a tokenizer as it is published, or one that needs no files.

    >>> compressor = load_compressor("units:bits=4")
    >>> compressor.symbol_count, compressor.compress([b"ab"])
    (16, [array([6, 1, 6, 2], dtype=uint32)])

    Args:
        path_or_name: a folder with ``compressor.json`` or a tokenizer file (``tokenizer.json``,
            ``tokenizer.model``, ``tokenizer.tiktoken``), such a file under any name, or a name
            with settings such as ``gzip``, ``units:bits=4`` or
            ``tokenizer:file=cl100k_base.tiktoken,pattern=cl100k_base``.

    Raises:
        UsageError: there is no such folder or name, a setting is wrong, or a pattern is missing.
        DamagedFileError: a saved compressor is not what it was when it was saved.
    """
    path = Path(path_or_name)
    if not is_there(path):
        return _from_name(str(path_or_name))
    if (path / DESCRIPTION_FILE).is_file():
        return _load_folder(path)
    from proxylm.compressors.tokenizer import TokenizerCompressor
    from proxylm.compressors.tokenizer.opening import TOKENIZER_FILES

    if path.is_file():
        return TokenizerCompressor.from_file(path)
    if any((path / name).is_file() for name in TOKENIZER_FILES):
        return TokenizerCompressor.from_folder(path, {})
    raise UsageError(
        f"{path}: has neither {DESCRIPTION_FILE} nor one of {', '.join(TOKENIZER_FILES)}"
    )


def _load_folder(folder: Path) -> Compressor:
    description = read_json(folder / DESCRIPTION_FILE)
    try:
        version, kind = description["format_version"], description["kind"]
        settings, expected = description["settings"], description["fingerprint"]
        symbol_count = description["symbol_count"]
    except (KeyError, TypeError):
        raise DamagedFileError(f"{folder / DESCRIPTION_FILE}: not a compressor's") from None
    if not isinstance(kind, str):
        raise DamagedFileError(f"{folder / DESCRIPTION_FILE}: kind is {kind!r}, not a name")
    if version != FORMAT_VERSION:
        raise DamagedFileError(
            f"{folder / DESCRIPTION_FILE}: format {version}, this version reads {FORMAT_VERSION}"
        )
    compressor = compressor_class(kind, folder).from_folder(folder, settings)
    if compressor.fingerprint != expected:
        raise DamagedFileError(
            f"{folder}: its files have fingerprint {compressor.fingerprint}, "
            f"{DESCRIPTION_FILE} says {expected}; train or save it again"
        )
    if compressor.symbol_count != symbol_count:
        raise DamagedFileError(
            f"{folder / DESCRIPTION_FILE}: says K is {symbol_count}, "
            f"its compressor has {compressor.symbol_count}"
        )
    return compressor


def _from_name(name: str) -> Compressor:
    kind, _, listed = name.partition(":")
    if kind not in _entry_points():
        raise UsageError(
            f"{name}: no such folder or file, and no compressor of that name; "
            f"there are: {', '.join(registered_kinds())}"
        )
    settings: dict[str, Any] = {}
    for item in filter(None, _BETWEEN_SETTINGS.split(listed)):
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"{name}: '{item}' is not key=value (as in units:bits=4)")
        if key in settings:
            raise UsageError(f"{name}: '{key}' is given twice; give it once")
        settings[key] = parse_value(value, origin=f"{name}: '{item}'")
    return compressor_class(kind).from_settings(settings)


def save_compressor(compressor: Compressor, folder: Path) -> None:
    """Save a compressor as a new folder, all of it or nothing.

    Raises:
        UsageError: the folder exists.
    """
    with atomic_folder(folder) as temporary:
        compressor.save_files(temporary)
        description = {
            "format_version": FORMAT_VERSION,
            "kind": compressor.kind,
            "settings": compressor.settings,
            "symbol_count": compressor.symbol_count,
            "fingerprint": compressor.fingerprint,
        }
        write_json(temporary / DESCRIPTION_FILE, description)
