"""Tagged data: what crosses comes back equal and of the same type, and nothing else crosses."""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxylm.sandbox.inside import tagged


def opaque(value):
    raise tagged.CannotCross(f"a {type(value).__name__}")


def no_object(number, type_name):
    raise tagged.CannotCross("no objects here")


def across(value):
    payload = tagged.dump({"value": tagged.Encoder(opaque).value(value)})
    return tagged.Decoder([], no_object).value(tagged.load(payload)["value"])


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())  # lone surrogates, too
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.fractions()
    | st.decimals(allow_nan=False)
)
# Deferred: written out, their descriptions would be very long.
HASHABLE = st.deferred(
    lambda: st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    )
)
VALUES = st.deferred(
    lambda: st.recursive(
        HASHABLE,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(inner, max_size=4).map(tuple)
            | st.dictionaries(HASHABLE, inner, max_size=4)
            | st.sets(HASHABLE, max_size=4)
            | st.binary().map(bytearray)
            | st.lists(inner, max_size=4).map(deque)
        ),
        max_leaves=20,
    )
)


def same(left, right):
    """Equal, with equal types all the way down (1, 1.0 and True are equal but not the same)."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple | deque):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, set | frozenset):
        return left == right and {type(x) for x in left} == {type(x) for x in right}
    return left == right


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_data_crosses_unchanged(value):
    assert same(across(value), value)


EDGES = (
    *(2, 2.0, True, 10**400_000, -(1 << 63), (1 << 63) - 1, 1 << 63, -0.0, math.inf, 1e308),
    *(range(9), range(10**30, 0, -7), "\ud800", "\0", b"\xff\0", {(): {}}, {1: "a", "1": "b"}),
)


def test_edges_cross_unchanged():
    for value in EDGES:
        assert same(across(value), value), f"{type(value).__name__}"
    assert math.copysign(1, across(-0.0)) == -1


def test_views_of_dictionaries_cross_as_such():
    ordered = OrderedDict.fromkeys("abc", 0)
    ordered.move_to_end("a")
    for value in ({"b": [1], "a": 1.0}, {}, ordered):
        for view in (value.keys(), value.items()):
            assert across(view) == view
            assert list(across(view)) == list(view)
        assert list(across(value.values())) == list(value.values())
        assert list(across(value)) == list(value)
    assert type(across({}.values())) is type({}.values())


def test_exact_numbers_cross_only_as_the_standard_types():
    class Never(Fraction):
        def __eq__(self, other):
            return True

    class Always(Decimal):
        def __eq__(self, other):
            return True

    for value in (Never(1, 2), Always(1), deque([1], maxlen=2)):
        with pytest.raises(tagged.CannotCross, match=type(value).__name__):
            across(value)
    assert str(across(Decimal("1.10E+3"))) == "1.10E+3"
    assert across(Decimal("sNaN")).is_snan()
    for form in (
        *(["Fraction", 1, 0], ["Fraction", "1", 2], ["Fraction", 0.5, 1], ["Fraction", 1]),
        *(
            ["Decimal", "x"],
            ["Decimal", 1],
            ["Decimal"],
            ["dict_items", 1],
            ["dict_keys", ["list"]],
        ),
    ):
        with pytest.raises(tagged.CannotCross):
            tagged.Decoder([], no_object).value(form)


def test_nan_stays_nan():
    result = across([math.nan, complex(math.nan, 1)])
    assert math.isnan(result[0])
    assert math.isnan(result[1].real)


def test_an_instance_of_a_subclass_crosses_as_its_base():
    class Always(int):
        __eq__ = lambda self, other: True  # noqa: E731
        __hash__ = int.__hash__
        __index__ = __int__ = lambda self: 49

    class Text(str):
        __str__ = __repr__ = lambda self: "49"

    point = namedtuple("point", "x y")(1, 2)
    assert same(across([Always(3), Text("t"), point]), [3, "t", (1, 2)])
    assert same(across(Counter("aab")), {"a": 2, "b": 1})
    assert same(across(defaultdict(list, {1: [2]})), {1: [2]})
    assert same(across(OrderedDict(b=1, a=2)), {"b": 1, "a": 2})


def test_a_spoofed_class_does_not_help_an_object_across():
    class Spoofed:
        __class__ = property(lambda self: int)

    assert isinstance(Spoofed(), int)
    with pytest.raises(tagged.CannotCross, match="a Spoofed"):
        across(Spoofed())


def test_too_deep_cyclic_and_too_large_values_do_not_cross():
    cyclic = []
    cyclic.append(cyclic)
    deep = [[]]
    for _ in range(100_000):
        deep = [deep]
    shared = [0]
    for _ in range(90):
        shared = [shared, shared]
    for value in (cyclic, deep, shared, [0] * 10_000):
        with pytest.raises(tagged.CannotCross):
            tagged.Encoder(opaque, max_items=10_000).value(value)
    assert tagged.Encoder(opaque, max_items=10_001).value([0] * 10_000)
    just_deep_enough = 0
    for _ in range(tagged.MAX_DEPTH):
        just_deep_enough = [just_deep_enough]
    assert across(just_deep_enough) == just_deep_enough
    with pytest.raises(tagged.CannotCross):
        across([just_deep_enough])
    with pytest.raises(tagged.CannotCross, match="more than 10 bytes"):
        tagged.dump({"value": "x" * 10}, max_bytes=10)
    while len(deep) == 1 and deep[0]:  # freed level by level: its destructor would recurse
        deep = deep[0]


TAGS = (
    *("list", "dict", "set", "int", "bytes", "range", "same", "object", "complex"),
    *("deque", "dict_keys", "dict_values", "dict_items", "Fraction", "Decimal"),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(TAGS),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=15,
)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_no_message_does_more_than_not_cross(form):
    decoder = tagged.Decoder([[]], no_object)
    try:
        decoder.value(form)
    except tagged.CannotCross:
        return
    assert not isinstance(form, dict)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=50) | JSON.map(lambda form: json.dumps(form).encode()))
def test_no_bytes_do_more_than_not_load(payload):
    try:
        message = tagged.load(payload)
    except tagged.CannotCross:
        return
    assert isinstance(message, dict)


def test_arguments_keep_identity_and_cycles():
    row = [0]
    grid = [row, row]
    cyclic = {}
    cyclic["self"] = cyclic
    form, objects = tagged.encode_arguments([grid, row], {"named": cyclic}, opaque)
    form = tagged.load(tagged.dump(form))
    args, kwargs, decoded = tagged.decode_arguments(form, no_object)
    assert args[0][0] is args[0][1] is args[1]
    assert kwargs["named"]["self"] is kwargs["named"]
    assert len(decoded) == len(objects) == 3


def test_only_arguments_of_the_same_kind_are_filled():
    targets = [1], {1: 1}, {1}, bytearray(b"1"), deque([1])
    contents = [2], {2: 2}, {2}, bytearray(b"2"), deque([2])
    for target, content in zip(targets, contents, strict=True):
        tagged.fill(target, content)
        assert target == content
        for other in contents:
            if type(other) is not type(target):
                with pytest.raises(tagged.CannotCross):
                    tagged.fill(target, other)
    with pytest.raises(tagged.CannotCross):
        tagged.fill((1,), (2,))
