"""Items of a stream put together, for few calls to what takes several and little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
        yield group
        raise
    if group:
        yield group
