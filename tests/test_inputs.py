"""What callers hand over: beside the checks stands the plain definition of what is right."""

from __future__ import annotations

import array
from numbers import Integral
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from proxylm.errors import UsageError
from proxylm.inputs import as_documents, as_symbols, require_whole

ENDS = (1, 2, 256, 65_792, 1 << 31)
NUMBERS = (
    st.integers(-3, 300)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.text(max_size=2)
    | st.sampled_from(
        [np.int64(-1), np.uint8(7), np.float32(3), np.True_, 1 << 63, 1 << 64, 2 + 0j]
    )
)


def plain_mistake(values: list[Any], end: int) -> int | None:
    """The definition: the place of the first value that is no integer in ``[0, end)``."""
    for place, value in enumerate(values):
        is_integer = isinstance(value, Integral) and type(value) is not bool
        if not is_integer or not 0 <= int(value) < end:
            return place
    return None


@given(values=st.lists(NUMBERS, max_size=6), end=st.sampled_from(ENDS))
def test_symbols_are_integers_in_their_range_and_nothing_else(values, end):
    place = plain_mistake(values, end)
    if place is None:
        symbols = as_symbols(values, end)
        assert symbols.dtype == np.uint32
        assert symbols.tolist() == [int(value) for value in values]
    else:
        with pytest.raises(ValueError, match=rf"^symbol {place} is "):
            as_symbols(values, end)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", ">i4", "u4", "i8", "u8", object])
def test_symbols_of_any_integer_type_are_taken(dtype):
    given_values = np.array([0, 5, 127], dtype=dtype)
    assert as_symbols(given_values, 128).tolist() == [0, 5, 127]
    with pytest.raises(ValueError, match="symbol 2 is 127, not an integer from 0 to 126"):
        as_symbols(given_values, 127)


def test_right_symbols_are_not_copied():
    symbols = np.arange(9, dtype=np.uint32)
    assert as_symbols(symbols, 9) is symbols


@pytest.mark.parametrize(
    "values",
    [
        np.array([0.7]),
        np.array([3.0]),
        np.array([np.nan]),
        np.array([True]),
        np.array(["1"]),
        np.array([1, -1], np.int8),
        np.array([[1, 2]]),
        torch.tensor([0.5]),
        [[1], [2, 3]],
        5,
        "12",
        b"12",
        None,
        {0: 1},
    ],
    ids=repr,
)
def test_whatever_else_is_refused(values):
    with pytest.raises(ValueError, match=r"is|found"):
        as_symbols(values, 256)


def test_whatever_holds_bytes_is_a_document():
    holders = [
        b"a\x00",
        bytearray(b"a\x00"),
        memoryview(b"xa\x00")[1:],
        np.frombuffer(b"a\x00", np.uint8),
        array.array("B", [97, 0]),
    ]
    taken = as_documents(holders)
    assert taken == [b"a\x00"] * len(holders)
    assert all(type(one) is bytes for one in taken)
    assert as_documents(iter(holders)) == taken
    assert as_documents([]) == []


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([b"a", "text"], "document 1: a document is bytes, not str; encode text first"),
        ([b"a", None], "document 1: a document is bytes, not NoneType"),
        ([[97]], "document 0: a document is bytes, not list"),
        ([np.zeros((2, 2), np.uint8)], "document 0: a document is bytes, not ndarray"),
        ([np.array([97])], "document 0: a document is bytes, not ndarray"),
        ("text", "documents: expected a list, found one str"),
        (b"text", "documents: expected a list, found one bytes"),
        (None, "documents: expected a list, found one NoneType"),
        (5, "documents: expected a list, found one int"),
    ],
)
def test_other_documents_are_named(documents, message):
    with pytest.raises(UsageError) as error:
        as_documents(documents)
    assert str(error.value) == message


@pytest.mark.parametrize("value", [1.5, 2.0, "3", True, None])
def test_a_size_is_a_whole_number(value):
    with pytest.raises(UsageError, match="context: must be a whole number"):
        require_whole("context", value)
    require_whole("context", np.int32(3))
