"""Text and log-probabilities of a choice: they belong together, and no character is cut."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxylm.generation.logprobs import ByteLogprobs
from proxylm.serving.choice_text import ChoiceText, TextDelta, logprobs_object, token_name
from proxylm.symbols import EOS, RAW_CLOSE, RAW_OFFSET

# Mostly bytes that begin or continue characters, and well-formed text among them.
broken_text = st.lists(
    st.sampled_from([b"a", b"\xc3", b"\xa9", b"\xe2", b"\x82", b"\xf0\x9f", b"\xff", b"\xed\xa0"])
    | st.text(max_size=3).map(str.encode)
).map(b"".join)


def entries(data: bytes) -> list[ByteLogprobs]:
    return [ByteLogprobs(symbol=RAW_OFFSET + value, logprob=-0.5) for value in data]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    borders = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(borders)]


def deltas(pieces: list[bytes]) -> list[TextDelta]:
    text = ChoiceText()
    return [*(text.feed(piece, entries(piece)) for piece in pieces), text.finish("stop")]


@given(broken_text, st.lists(st.integers(0, 99), max_size=6))
def test_deltas_join_to_the_whole_and_each_carries_its_own_bytes(
    data: bytes, places: list[int]
) -> None:
    made = deltas(cut(data, places))
    assert "".join(delta.text for delta in made) == data.decode("utf-8", "replace")
    carried = [[e.symbol - RAW_OFFSET for e, _ in delta.logprobs] for delta in made]
    assert b"".join(map(bytes, carried)) == data
    for delta, values in zip(made, carried, strict=True):
        assert bytes(values).decode("utf-8", "replace") == delta.text


@given(broken_text)
def test_offsets_name_the_character_that_a_byte_is_part_of(data: bytes) -> None:
    whole = TextDelta.joined(deltas([data]))
    groups: dict[int, list[int]] = {}
    for entry, offset in whole.logprobs:
        groups.setdefault(offset, []).append(entry.symbol - RAW_OFFSET)
    assert list(groups) == list(range(len(whole.text))), "every character has bytes, in order"
    for character, values in zip(whole.text, groups.values(), strict=True):
        assert bytes(values).decode("utf-8", "replace") == character


def test_without_logprobs_there_are_none() -> None:
    text = ChoiceText()
    assert text.feed("aé".encode()) == TextDelta(text="aé")
    assert text.feed(b"\xe2") == TextDelta(text="")
    assert text.finish("length") == TextDelta(text="\ufffd", finish_reason="length")


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        (RAW_OFFSET + 10, "\n"),
        (RAW_OFFSET + 0x7F, "\x7f"),
        (RAW_OFFSET + 0x80, "bytes:\\x80"),
        (RAW_CLOSE, "</raw>"),
        (EOS, "<eos>"),
    ],
)
def test_token_names(symbol: int, name: str) -> None:
    assert token_name(symbol) == name


def test_the_object_is_openais() -> None:
    top = ((RAW_OFFSET + 98, -0.25), (EOS, float("-inf")))
    entry = ByteLogprobs(symbol=RAW_OFFSET + 97, logprob=-1.5, alternatives=top)
    assert logprobs_object([(entry, 7)], with_alternatives=True) == {
        "tokens": ["a"],
        "token_logprobs": [-1.5],
        "top_logprobs": [{"b": -0.25, "<eos>": -9999.0, "a": -1.5}],
        "text_offset": [7],
    }
    plain = ByteLogprobs(symbol=RAW_OFFSET + 97, logprob=-1.5)
    assert logprobs_object([(plain, 0)], with_alternatives=False)["top_logprobs"] is None
