"""Items in groups: within the limit, in order, and what came before an error is not lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxylm.groups import in_groups, longest_first


@given(st.lists(st.integers(0, 9)), st.integers(1, 20))
def test_groups_hold_all_items_within_the_limit(sizes: list[int], limit: int) -> None:
    groups = list(in_groups(sizes, lambda size: size, limit))
    assert [size for group in groups for size in group] == sizes
    assert all(group and (len(group) == 1 or sum(group) <= limit) for group in groups)


@pytest.mark.parametrize(("before", "expected"), [(0, []), (1, [[0]]), (2, [[0, 1]])])
def test_what_came_before_an_error_comes_first(before: int, expected: list[list[int]]) -> None:
    def failing() -> Iterator[int]:
        yield from range(before)
        raise OSError("gone")

    groups = []
    with pytest.raises(OSError, match="gone"):
        for group in in_groups(failing(), lambda _: 1, 10):
            groups.append(group)
    assert groups == expected


@given(st.lists(st.integers(1, 9)), st.integers(1, 40))
def test_rows_padded_to_the_longest_stay_within_the_limit(lengths: list[int], limit: int) -> None:
    groups = list(longest_first(lengths, limit))
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[row] for row in group)
        assert lengths[group[0]] == longest
        assert len(group) == 1 or longest * len(group) <= limit
