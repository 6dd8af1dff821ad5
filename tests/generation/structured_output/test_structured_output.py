"""Structured output by itself: UTF-8 against Python's decoder, grammars against their languages."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxylm.config import validate_config
from proxylm.errors import UsageError
from proxylm.generation.structured_output.contract import AllOf, StructuredOutputState
from proxylm.generation.structured_output.guidance import Grammar, JsonSchema, Regex
from proxylm.generation.structured_output.utf8 import Utf8State

LONG = 1000


def is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def begins_text(data: bytes) -> bool:
    """Whether some bytes complete ``data`` to valid UTF-8, by Python's incremental decoder."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def follow(state: StructuredOutputState, data: bytes) -> StructuredOutputState:
    for value in data:
        assert state.allowed(LONG).values[value]
        state.advance(value)
    return state


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_utf8_allows_what_python_decodes(depth: int) -> None:
    """Every byte after every kind of beginning: the leads and the bounds of second bytes."""
    heads = [b"", b"a"]
    interesting = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xDF, 0xE0]
    interesting += [0xE1, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]
    for _ in range(depth):
        heads = [
            head + bytes([value])
            for head in heads
            for value in interesting
            if begins_text(head + bytes([value]))
        ]
    assert heads
    for head in heads:
        allowed = follow(Utf8State(), head).allowed(LONG)
        assert allowed.may_end == is_text(head)
        expected = [begins_text(head + bytes([value])) for value in range(256)]
        assert allowed.values.tolist() == expected, head


@given(st.integers(1, 12), st.integers(0, 2**32))
def test_utf8_that_reaches_the_limit_is_whole(limit: int, seed: int) -> None:
    numbers = np.random.default_rng(seed)
    state, data = Utf8State(), b""
    for left in range(limit, 0, -1):
        allowed = np.flatnonzero(state.allowed(left).values)
        # Long characters more often than chance would have them.
        value = int(numbers.choice(allowed[-60:]))
        state.advance(value)
        data += bytes([value])
        assert begins_text(data)
    assert is_text(data)


@given(st.text(min_size=1))
def test_a_character_that_the_prompt_leaves_open_is_finished(text: str) -> None:
    data = text.encode()
    for cut in range(len(data) + 1):
        state = follow(Utf8State(before=b"\xff" + data[:cut]), data[cut:])
        assert state.allowed(LONG).may_end


def test_a_prompt_that_is_no_text_binds_nothing() -> None:
    for before in (b"\x80\x80", b"\xff", b"\xe4\xff", b"\xf8\x80"):
        assert Utf8State(before).allowed(LONG).may_end


def test_an_open_character_longer_than_the_limit_leaves_no_choice() -> None:
    assert Utf8State(b"\xf0\x9f").allowed(1).none
    assert not Utf8State(b"\xf0\x9f").allowed(2).none


GRAMMARS = [
    (Regex(pattern="[a-c]+é?"), ["a", "abcé", "cc"], ["", "é", "d", "aé a"]),
    (
        JsonSchema(definition={"type": "array", "items": {"type": "integer"}}),
        ["[]", "[1, 2]", "[-3]"],
        ["{}", '["a"]', "[1.5]", "[1"],
    ),
    (Grammar(text='start: "(" start ")" | "x"'), ["x", "((x))"], ["", "(x", "x)", "()"]),
]


def accepts(state: StructuredOutputState, data: bytes) -> bool:
    for value in data:
        if not state.allowed(LONG).values[value]:
            return False
        state.advance(value)
    return state.allowed(LONG).may_end


@pytest.mark.parametrize(("grammar", "inside", "outside"), GRAMMARS)
def test_grammars_accept_their_language(grammar, inside: list[str], outside: list[str]) -> None:
    assert [text for text in inside if not accepts(grammar.start(), text.encode())] == []
    assert [text for text in outside if accepts(grammar.start(), text.encode())] == []


SCHEMAS: list[dict[str, Any]] = [
    {"type": "array", "items": {"enum": [[7], [], {"a": [1]}]}, "maxItems": 3},
    {"type": "object", "properties": {"b": {"enum": [[], 1]}}, "additionalProperties": False},
    {"anyOf": [{"type": "boolean"}, {"type": "object", "additionalProperties": False}]},
    {"const": {"deep": [{"er": True}, 1.5]}},
]


@pytest.mark.parametrize("schema", SCHEMAS)
@given(blanks=st.permutations(b" \n\t\r"), seed=st.integers(0, 2**32))
@settings(max_examples=8)
def test_json_by_a_schema_ends_however_much_a_model_likes_blanks(
    schema: dict[str, Any], blanks: list[int], seed: int
) -> None:
    numbers, data = np.random.default_rng(seed), b""
    state = JsonSchema(definition=schema).start()
    while (values := state.allowed(LONG).values).any():
        liked = [blank for blank in blanks if values[blank]]
        value = liked[0] if liked else int(numbers.choice(np.flatnonzero(values)))
        state.advance(value)
        data += bytes([value])
        assert len(data) < LONG
    json.loads(data)
    assert max(map(len, re.findall(rb"\s+", data)), default=0) <= 18


def test_a_schema_may_say_what_stands_between_its_symbols() -> None:
    indented = b'{\n  "a": [\n    1\n  ]\n}'
    spaced, close = b'{"a": [1]}', b'{"a":[1]}'
    for guidance, accepted in (
        ({}, [indented, spaced, close]),
        ({"x-guidance": {"whitespace_flexible": False}}, [close]),
        ({"x-guidance": {"whitespace_pattern": "[ ]+"}}, [spaced, close, b'{"a":   [1]}']),
    ):
        found = [accepts(JsonSchema(definition=guidance).start(), text) for text in accepted]
        assert all(found), guidance
    no_blanks = JsonSchema(definition={"x-guidance": {"whitespace_flexible": False}})
    assert not accepts(no_blanks.start(), spaced)
    assert not accepts(JsonSchema(definition={}).start(), b'{"a":   [1]}')


def test_random_walks_stay_in_the_language() -> None:
    numbers = np.random.default_rng(0)
    pattern = "(ab|c[de]{1,3})(é|x)"
    for _ in range(50):
        state, data = Regex(pattern=pattern).start(), b""
        while (values := state.allowed(LONG).values).any():
            data += bytes([int(numbers.choice(np.flatnonzero(values)))])
            state.advance(data[-1])
        assert re.fullmatch(pattern, data.decode())


def test_several_states_allow_what_all_do() -> None:
    state = AllOf([Regex(pattern="[aé]{2}").start(), Utf8State()])
    assert np.flatnonzero(state.allowed(LONG).values).tolist() == [0x61, 0xC3]
    assert np.flatnonzero(state.allowed(1).values).tolist() == [0x61]
    assert accepts(state, "aé".encode())
    assert AllOf([]).allowed(1).values.all()


def nested_schema(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("grammar", "values", "message"),
    [
        (Regex, {"pattern": "("}, "invalid regex.*error: unclosed group"),
        (Regex, {"pattern": "a\nb["}, "invalid regex.*error: unclosed character class"),
        (Regex, {"pattern": "a{2,1}"}, "invalid repetition count range"),
        (Grammar, {"text": "start: a"}, "unknown name"),
        (Grammar, {"text": "start: /(/"}, "error: unclosed group"),
        (JsonSchema, {"definition": {"type": 3}}, "type must be a string"),
        (JsonSchema, {"definition": json.dumps({})}, "dictionary"),
        (Regex, {"pattern": "a", "flags": "i"}, "unknown key"),
        (Regex, {"pattern": r"[^\s\S]"}, "accepts nothing"),
        (Grammar, {"text": "start: <[256]>"}, "no text of bytes"),
        (JsonSchema, {"definition": nested_schema(3000)}, "nested too deeply"),
    ],
)
def test_what_cannot_be_compiled_is_refused_in_one_line(grammar, values, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        validate_config(grammar, values)
    assert "\n" not in str(caught.value)
