"""Items of a stream put together, for few calls to what takes several and little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def in_groups(
    items: Iterable[Item], size_of: Callable[[Item], float], limit: float
) -> Iterator[list[Item]]:
    """The items in order; a group ends with the one that brings its sizes to the limit.

    Where the stream fails, the group so far comes before the error.

    >>> list(in_groups(["ab", "c", "def", "g"], len, 3))
    [['ab', 'c'], ['def'], ['g']]
    """
    group: list[Item] = []
    size: float = 0
    try:
        for item in items:
            group.append(item)
            size += size_of(item)
            if size >= limit:
                yield group
                group, size = [], 0
    except Exception:
        yield group
        raise
    if group:
        yield group
