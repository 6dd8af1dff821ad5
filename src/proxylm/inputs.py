"""What callers hand over, checked in one place: documents are bytes, symbols integers in a range.

Unchecked, Python and numpy would take a negative symbol from the end of a table, cut the fraction
off 0.7, and name neither the document nor the place where text was given instead of bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.errors import UsageError

_SHOWN_CHARACTERS = 100
_FORMATS_OF_BYTES = ("B", "c")
"""As the buffer protocol names them; other items are numbers, of several bytes or signed."""


def as_documents(documents: Any, *, kind: str = "document") -> list[bytes]:
    """Documents as ``bytes``, from whatever holds bytes (``bytearray``, uint8 arrays, ...).

    Messages call one of them ``kind``.

    Raises:
        UsageError: one is text or no bytes at all, or a single document stands for the list.
    """
    items = items_of(documents, f"{kind}s")
    return [as_bytes(document, index, kind) for index, document in enumerate(items)]


def as_bytes(document: Any, index: int, kind: str) -> bytes:
    """One document as ``bytes``; messages call it ``kind`` and ``index``.

    Raises:
        UsageError: it is text or no bytes at all.
    """
    if isinstance(document, bytes):
        return document
    try:
        view = memoryview(document)
    except TypeError:
        view = None
    if view is None or view.ndim != 1 or view.format not in _FORMATS_OF_BYTES:
        hint = "; encode text first" if isinstance(document, str) else ""
        raise UsageError(f"{kind} {index}: a {kind} is bytes, not {type(document).__name__}{hint}")
    return view.tobytes()


def items_of(values: Any, name: str) -> Sequence[Any]:
    """The items of a list of documents or of sequences, whatever iterable it is.

    Raises:
        UsageError: it is no list, or one string, whose items would be characters or bytes.
    """
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | bytearray | memoryview):
        raise UsageError(f"{name}: expected a list, found one {type(values).__name__}")
    return values if isinstance(values, list | tuple) else list(values)


def as_symbols(values: Any, symbol_count: int) -> NDArray[np.uint32]:
    """One document's symbols, in ``[0, symbol_count)``, as uint32 ``[m]``.

    Arrays of that type are not copied.

    Raises:
        ValueError: they are anything else; the message names the first wrong place.
    """
    return as_integers(values, symbol_count).astype(np.uint32, copy=False)


def as_integers(values: Any, end: int, *, kind: str = "symbol") -> NDArray[np.integer]:
    """Values as an array of integers ``[m]`` in ``[0, end)``; such arrays are returned as they are.

    Raises:
        ValueError: they are anything else; the message names the first wrong place as a ``kind``.
    """
    array = _vector(values)
    if _are_integers_below(array, end) and not _has_flags(values):
        return array
    # Looked at one by one to name the place; Python's integers in an array of objects are right.
    for place, value in enumerate(values if isinstance(values, list | tuple) else array.tolist()):
        if not (_is_integer(value) and 0 <= int(value) < end):
            shown = f"{value!r:.{_SHOWN_CHARACTERS}}"
            raise ValueError(f"{kind} {place} is {shown}, not an integer from 0 to {end - 1}")
    return array.astype(np.int64)


def require_whole(name: str, value: Any) -> None:
    """Refuse a size that is no integer; its range is the caller's to check.

    Raises:
        UsageError: it is a fraction, text or a flag.
    """
    if not _is_integer(value):
        raise UsageError(f"{name}: must be a whole number, not {value!r:.{_SHOWN_CHARACTERS}}")


def _vector(values: Any) -> NDArray[Any]:
    found = f"one {type(values).__name__}"
    try:
        array = np.asarray(values)
        if array.ndim == 1:
            return array
        if array.ndim:
            found = f"shape {list(array.shape)}"
    except (ValueError, TypeError, RuntimeError):  # rows of different lengths, a GPU's tensor
        pass
    raise ValueError(f"expected integers of shape [m], found {found}")


def _are_integers_below(array: NDArray[Any], end: int) -> bool:
    if not np.issubdtype(array.dtype, np.integer):
        return False
    is_signed = np.issubdtype(array.dtype, np.signedinteger)
    return not array.size or (not (is_signed and array.min() < 0) and bool(array.max() < end))


def _has_flags(values: Any) -> bool:
    """Whether a list holds True or False, which numpy takes for 1 and 0 among integers."""
    return isinstance(values, list | tuple) and not {bool, np.bool_}.isdisjoint(map(type, values))


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
