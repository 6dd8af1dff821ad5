"""Plain tagged data: the only thing that crosses between the trusted process and the worker.

JSON carries null, booleans, strings, floats (nan and infinities included) and integers up to 64
bits as themselves; everything else is a list whose first item is its tag::

    ["int", "0x1f..."]      ["tuple", item, ...]     ["bytes", latin-1 text]
    ["complex", re, im]     ["list", item, ...]      ["bytearray", latin-1 text]
    ["range", a, b, step]   ["dict", key, value, ...]
    ["set", item, ...]      ["frozenset", item, ...]      ["deque", item, ...]
    ["dict_keys", key, ...]      ["dict_values", value, ...]      ["dict_items", key, value, ...]
    ["Fraction", numerator, denominator]      ["Decimal", text]
    ["same", label]         a mutable object of the call's arguments
    ["object", number, type name]   an object of the candidate that stays in the worker; without
                                    number, in arguments only: a built-in type of that name

An instance of a subclass crosses as the base type's data, whatever its methods claim; of
``Fraction`` and ``Decimal`` no subclass crosses, and no deque that is bounded. The labels
keep the identity of a call's mutable arguments: both sides hold the same list of objects, so what
a candidate changes in place is changed in the test's own object (``fill``).

No exception but ``CannotCross`` leaves this module for any input.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

DEFAULT_RESULT_BYTES = 1 << 20
MAX_ARGUMENT_ITEMS = 1 << 26
MAX_DEPTH = 100
LARGEST_PLAIN_INT = (1 << 63) - 1


class CannotCross(Exception):  # noqa: N818 (a finding about a value, not a fault of the program)
    """A value is too large, too deep or of no kind that crosses; or a message is malformed."""


class Encoder:
    """Turns values into what JSON can carry.

    Args:
        opaque: gives the JSON form of an object that does not cross, or raises ``CannotCross``.
        objects: mutable objects that both sides know by label.
        label_new: whether further mutable objects get labels too, or are written out in place.
        max_items: bound on the values written; it also ends shared structures that would unfold
            without end.
    """

    def __init__(
        self,
        opaque: Callable[[Any], Any],
        *,
        objects: Sequence[Any] = (),
        label_new: bool = False,
        max_items: int = DEFAULT_RESULT_BYTES,
    ):
        self.objects = list(objects)
        self._labels = {id(item): label for label, item in enumerate(objects)}
        self.opaque = opaque
        self._label_new = label_new
        self._items_left = max_items

    def value(self, value: Any, depth: int = 0) -> Any:
        """The JSON form of a value; a labelled object is only referred to."""
        self._items_left -= 1
        if self._items_left < 0:
            raise CannotCross("the value is too large")
        if id(value) in self._labels:
            return ["same", self._labels[id(value)]]
        if self._label_new and issubclass(type(value), tuple(_EMPTY.values())):
            self._labels[id(value)] = len(self.objects)
            self.objects.append(value)
            return ["same", self._labels[id(value)]]
        return self.content(value, depth)

    def content(self, value: Any, depth: int = 0) -> Any:
        """The JSON form of a value, a labelled object's own items written out."""
        if depth > MAX_DEPTH:
            raise CannotCross(f"the value is nested more than {MAX_DEPTH} deep")
        # By the real type: a candidate's class may claim any other.
        for base in type(value).__mro__:
            if base in _FORMS:
                return _FORMS[base](self, value, depth + 1)
        if type(value) is _loaded("fractions", "Fraction"):
            return self.items("Fraction", (value.numerator, value.denominator), depth + 1)
        if type(value) is _loaded("decimal", "Decimal"):
            return ["Decimal", str(value)]
        return self.opaque(value)

    def items(self, tag: str, items: Iterable[Any], depth: int) -> list[Any]:
        """The JSON form of a container with these items."""
        return [tag, *[self.value(item, depth) for item in items]]


def _plain(encoder: Encoder, value: Any, depth: int) -> Any:
    return value


def _int_form(encoder: Encoder, value: int, depth: int) -> Any:
    value = int.__index__(value)
    return value if abs(value) <= LARGEST_PLAIN_INT else ["int", hex(value)]


def _items_form(kind: Any) -> Callable[[Encoder, Any, int], Any]:
    return lambda encoder, value, depth: encoder.items(kind.__name__, kind.__iter__(value), depth)


def _pairs_form(tag: str, pairs_of: Callable[..., Any]) -> Callable[[Encoder, Any, int], Any]:
    return lambda encoder, value, depth: encoder.items(
        tag, [part for pair in pairs_of(value) for part in pair], depth
    )


def _deque_form(encoder: Encoder, value: deque[Any], depth: int) -> Any:
    if value.maxlen is not None:
        return encoder.opaque(value)
    return encoder.items("deque", deque.__iter__(value), depth)


def _loaded(module: str, name: str) -> Any:
    """A type of a module that takes long to import; where nobody has, nothing is of that type."""
    return getattr(sys.modules.get(module), name, None)


_FORMS: Mapping[type, Callable[[Encoder, Any, int], Any]] = {
    **dict.fromkeys((type(None), bool, str, float), _plain),
    int: _int_form,
    **{kind: _items_form(kind) for kind in (list, tuple, set, frozenset)},
    type({}.keys()): lambda encoder, value, depth: encoder.items("dict_keys", value, depth),
    type({}.values()): lambda encoder, value, depth: encoder.items("dict_values", value, depth),
    dict: _pairs_form("dict", dict.items),
    # Its order is not that of the dict below it (move_to_end).
    OrderedDict: _pairs_form("dict", OrderedDict.items),
    deque: _deque_form,
    type({}.items()): _pairs_form("dict_items", iter),
    range: lambda encoder, value, depth: encoder.items(
        "range", (value.start, value.stop, value.step), depth
    ),
    bytes: lambda encoder, value, depth: ["bytes", bytes.decode(value, "latin-1")],
    bytearray: lambda encoder, value, depth: ["bytearray", bytearray.decode(value, "latin-1")],
    complex: lambda encoder, value, depth: ["complex", value.real, value.imag],
}


class Decoder:
    """Reads values back, trusting nothing about them.

    Args:
        objects: what ``["same", label]`` refers to.
        open_object: gives the stand-in for ``["object", number, type name]``.
    """

    def __init__(self, objects: Sequence[Any], open_object: Callable[[Any, Any], Any]):
        self._objects = objects
        self._open_object = open_object

    def value(self, data: Any) -> Any:
        """The value of a JSON form."""
        try:
            return self._value(data, 0)
        except _MALFORMED as error:
            raise CannotCross(f"malformed message ({type(error).__name__})") from None

    def _value(self, data: Any, depth: int) -> Any:
        if data is None or isinstance(data, bool | int | float | str):
            return data
        if not isinstance(data, list) or depth > MAX_DEPTH + 1:
            raise CannotCross("malformed message (not tagged data, or too deep)")
        tag, rest = data[0], data[1:]
        if tag == "same":
            (label,) = rest
            if not 0 <= label < len(self._objects):
                raise IndexError(label)
            return self._objects[label]
        if tag == "object":
            number, type_name = rest
            return self._open_object(number, type_name)
        if tag in _SCALARS:
            return _SCALARS[tag](*rest)
        if tag in _CONTAINERS:
            return _CONTAINERS[tag]([self._value(item, depth + 1) for item in rest])
        raise CannotCross("malformed message (unknown tag)")


def _dict(items: Sequence[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _fraction(parts: Sequence[Any]) -> Any:
    numerator, denominator = parts
    if type(numerator) is not int or type(denominator) is not int:
        raise TypeError("a fraction of something else than integers")
    from fractions import Fraction

    return Fraction(numerator, denominator)


def _decimal(parts: Sequence[Any]) -> Any:
    (text,) = parts
    if type(text) is not str:
        raise TypeError("a decimal number that is no text")
    from decimal import Decimal

    return Decimal(text)


_MALFORMED = (
    *(TypeError, ValueError, AttributeError, IndexError, ArithmeticError),
    *(RecursionError, MemoryError),
)
_SCALARS: Mapping[str, Callable[..., Any]] = {
    "int": lambda text: int(text, 16),
    "complex": lambda real, imaginary: complex(float(real), float(imaginary)),
    "bytes": lambda text: text.encode("latin-1"),
    "bytearray": lambda text: bytearray(text.encode("latin-1")),
}
_CONTAINERS: Mapping[str, Callable[[list[Any]], Any]] = {
    **{kind.__name__: kind for kind in (list, tuple, set, frozenset, deque)},
    "dict": _dict,
    "dict_keys": lambda items: dict.fromkeys(items).keys(),
    "dict_values": lambda items: dict(enumerate(items)).values(),
    "dict_items": lambda items: _dict(items).items(),
    "Fraction": _fraction,
    "Decimal": _decimal,
    "range": lambda bounds: range(*bounds),
}
_EMPTY: Mapping[str, type] = {kind.__name__: kind for kind in (list, dict, set, bytearray, deque)}


def encode_arguments(
    args: Sequence[Any], kwargs: Mapping[str, Any], opaque: Callable[[Any], Any]
) -> tuple[dict[str, Any], list[Any]]:
    """The JSON form of a call's arguments, and the mutable objects among them by label."""
    encoder = Encoder(opaque, label_new=True, max_items=MAX_ARGUMENT_ITEMS)
    form: dict[str, Any] = {
        "args": [encoder.value(item) for item in args],
        "kwargs": {name: encoder.value(item) for name, item in kwargs.items()},
    }
    contents: list[Any] = []
    while len(contents) < len(encoder.objects):  # writing one may find more
        contents.append(encoder.content(encoder.objects[len(contents)]))
    return {**form, "objects": contents}, encoder.objects


def decode_arguments(
    form: Mapping[str, Any], open_object: Callable[[Any, Any], Any]
) -> tuple[list[Any], dict[str, Any], list[Any]]:
    """A call's arguments, keyword arguments, and the mutable objects among them by label."""
    objects = [_EMPTY[content[0]]() for content in form["objects"]]
    decoder = Decoder(objects, open_object)
    for target, content in zip(objects, form["objects"], strict=True):
        fill(target, decoder.value(content))
    args = [decoder.value(item) for item in form["args"]]
    kwargs = {name: decoder.value(item) for name, item in form["kwargs"].items()}
    return args, kwargs, objects


def fill(target: Any, content: Any) -> None:
    """Give a mutable object the content of another of its kind, in place."""
    kind = next((kind for kind in _EMPTY.values() if isinstance(target, kind)), None)
    if kind is None or not isinstance(content, kind):
        raise CannotCross("malformed message (an argument changed its kind)")
    target.clear()
    if kind in (dict, set):
        target.update(content)
    else:
        target.extend(content)


def dump(message: Mapping[str, Any], max_bytes: int | None = None) -> bytes:
    """A message as bytes, at most ``max_bytes``."""
    try:
        payload = json.dumps(message, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise CannotCross(f"the value cannot be written ({type(error).__name__})") from None
    if max_bytes is not None and len(payload) > max_bytes:
        raise CannotCross(f"the value takes more than {max_bytes} bytes")
    return payload


def load(payload: bytes) -> dict[str, Any]:
    """A message from bytes: one JSON object."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise CannotCross(f"malformed message ({type(error).__name__})") from None
    if not isinstance(message, dict):
        raise CannotCross("malformed message (not an object)")
    return message
