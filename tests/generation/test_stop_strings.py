"""Stop strings beside the definition, over every way of cutting a stream."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from proxylm.generation.stop_strings import StopScanner

few_letters = st.binary(max_size=30).map(lambda data: bytes(97 + value % 3 for value in data))
stop_lists = st.lists(
    st.binary(min_size=1, max_size=5).map(lambda data: bytes(97 + value % 3 for value in data)),
    max_size=4,
)


def plain_cut(text: bytes, stops: Sequence[bytes]) -> bytes:
    """The definition: look at every prefix; the first that ends in a stop string is cut there."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))]
    return text


def cut_into(text: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(borders)]


@given(few_letters, stop_lists, st.lists(st.integers(0, 100), max_size=6))
def test_scanner_equals_the_definition_however_the_stream_is_cut(
    text: bytes, stops: list[bytes], places: list[int]
) -> None:
    scanner = StopScanner(stops)
    expected = plain_cut(text, stops)
    shown = b""
    for piece in cut_into(text, places):
        shown += scanner.feed(piece)
        # Never more than the answer: no part of a stop string is shown and taken back.
        assert expected.startswith(shown)
    assert shown + scanner.finish() == expected
    assert scanner.stopped == any(stop in text for stop in stops)


@given(few_letters, stop_lists)
def test_no_more_is_held_back_than_a_stop_string_could_use(text: bytes, stops: list[bytes]) -> None:
    scanner = StopScanner(stops)
    shown = scanner.feed(text)
    if not scanner.stopped:
        longest = max(map(len, stops), default=1)
        assert len(text) - len(shown) <= longest - 1


def test_without_stop_strings_everything_passes_at_once() -> None:
    scanner = StopScanner([])
    assert scanner.feed(b"a\x00b") == b"a\x00b"
    assert scanner.finish() == b""


def test_of_several_that_end_together_the_longest_is_cut() -> None:
    scanner = StopScanner([b"b", b"ab"])
    assert scanner.feed(b"xab") == b"x"
    assert scanner.stopped


def test_a_stop_string_that_overlaps_a_failed_one_is_found() -> None:
    scanner = StopScanner([b"aab"])
    assert scanner.feed(b"aaab") == b"a"
    assert scanner.stopped


def test_bytes_after_the_stop_are_dropped() -> None:
    scanner = StopScanner([b"\n"])
    assert scanner.feed(b"one\ntwo") == b"one"
    assert scanner.feed(b"three") == b""
    assert scanner.finish() == b""
