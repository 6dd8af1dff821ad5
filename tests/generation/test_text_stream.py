"""Streamed text equals decoding the whole, for any bytes cut anywhere."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from proxylm.generation.text_stream import TextStream

mixed_bytes = st.lists(st.one_of(st.binary(max_size=4), st.text(max_size=4).map(str.encode))).map(
    b"".join
)


@given(mixed_bytes, st.lists(st.integers(0, 200), max_size=8))
def test_pieces_join_to_the_whole_decoding(data: bytes, places: list[int]) -> None:
    borders = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    stream = TextStream()
    pieces = [stream.feed(data[a:b]) for a, b in pairwise(borders)]
    assert "".join(pieces) + stream.finish() == data.decode("utf-8", "replace")


@given(st.text())
def test_byte_by_byte_a_valid_text_never_shows_a_replacement(text: str) -> None:
    stream = TextStream()
    shown = "".join(stream.feed(bytes([value])) for value in text.encode())
    assert shown == text
    assert stream.finish() == ""


def test_a_character_appears_with_its_last_byte() -> None:
    stream = TextStream()
    assert [stream.feed(bytes([value])) for value in "€x".encode()] == ["", "", "€", "x"]


def test_an_unfinished_character_is_one_replacement_at_the_end() -> None:
    stream = TextStream()
    assert stream.feed(b"a\xe2\x82") == "a"
    assert stream.finish() == "\ufffd"


def test_whether_the_last_bytes_may_still_become_a_character() -> None:
    stream = TextStream()
    seen = []
    for value in b"a\xe2\x82\xac\xe2b":
        stream.feed(bytes([value]))
        seen.append(stream.inside_character)
    assert seen == [False, True, True, False, True, False]
