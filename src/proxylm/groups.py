"""Items put together, for few calls to what takes several at a time, and little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def in_groups(
    items: Iterable[Item], size_of: Callable[[Item], float], limit: float
) -> Iterator[list[Item]]:
    """The items in order, in groups whose sizes stay within the limit (a larger item is alone).

    Where the stream fails, the group so far comes before the error.

    >>> list(in_groups(["ab", "c", "defg", "h"], len, 3))
    [['ab', 'c'], ['defg'], ['h']]
    """
    group: list[Item] = []
    size: float = 0
    try:
        for item in items:
            own_size = size_of(item)
            if group and size + own_size > limit:
                yield group
                group, size = [], 0
            group.append(item)
            size += own_size
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group


def longest_first(lengths: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Numbers of rows, as many together as fit when all are padded to the longest of them.

    With the longest first the padding is small, and memory trouble shows at once.

    >>> list(longest_first([2, 5, 3], 6))
    [[1], [2, 0]]
    """
    rest = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while rest:
        count = max(1, limit // lengths[rest[0]])
        yield rest[:count]
        rest = rest[count:]
