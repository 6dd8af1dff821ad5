"""Windows of long documents: every symbol scored once, with the promised context."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxylm.errors import UsageError
from proxylm.models.scoring_windows import scoring_windows, window_span


@given(st.integers(0, 300), st.integers(1, 3), st.integers(0, 40), st.integers(1, 50))
def test_every_symbol_is_scored_once_with_enough_context(
    content_length: int, prefix_length: int, room: int, stride: int
) -> None:
    context = prefix_length + room
    stride = min(stride, window_span(context, prefix_length))
    windows = scoring_windows(
        content_length, context=context, stride=stride, prefix_length=prefix_length
    )
    scored = [place for window in windows for place in range(window.first_scored, window.end)]
    assert scored == list(range(content_length))
    for window in windows:
        inputs = prefix_length + (window.end - window.start) - 1
        assert inputs <= context
        before = prefix_length + window.first_scored - window.start
        whole_past_in_view = window.start == 0
        assert whole_past_in_view or before >= context - stride


def test_a_document_that_fits_is_one_window() -> None:
    [window] = scoring_windows(11, context=12, stride=4, prefix_length=2)
    assert (window.start, window.first_scored, window.end) == (0, 0, 11)


def test_one_symbol_more_than_fits_gives_a_second_window() -> None:
    first, second = scoring_windows(12, context=12, stride=4, prefix_length=2)
    assert (first.first_scored, first.end) == (0, 11)
    assert (second.start, second.first_scored, second.end) == (4, 11, 12)


@pytest.mark.parametrize("stride", [0, -1, 12])
def test_an_impossible_stride_is_named(stride: int) -> None:
    with pytest.raises(UsageError, match="stride: must be between 1 and 11"):
        scoring_windows(5, context=12, stride=stride, prefix_length=2)


def test_a_context_without_room_is_named() -> None:
    with pytest.raises(UsageError, match="context: 1 symbols cannot hold"):
        scoring_windows(5, context=1, stride=1, prefix_length=2)
