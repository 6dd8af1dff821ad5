"""MBPP+'s arguments with their types: JSON has no tuples, sets or complex numbers.

EvalPlus stores each argument as JSON and restores the types of single tasks by a table of its own
(``mbpp_deserialize_inputs``); the groups here are that table's facts. A call's arguments come in
as one list and go out as one list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Arguments = list[Any]


def _tuples(value: Any) -> Any:
    """All lists as tuples, at any depth."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


_GROUPS: list[tuple[Callable[[Arguments], Arguments], str]] = [
    (
        lambda call: [tuple(value) for value in call],
        "2 116 132 143 222 261 273 394 399 421 424 429 470 560 579 596 616 630 726 740 744 809",
    ),
    (
        lambda call: [[tuple(row) for row in value] for value in call],
        "63 64 70 94 120 237 272 299 400 409 417 438 473 614 780",
    ),
    (lambda call: [[tuple(row) for row in call[0]], call[1]], "75 413 444 753"),
    (lambda call: [call[0], tuple(call[1])], "106 750"),
    (lambda call: [[set(x) if isinstance(x, list) and x else {} for x in call[0]]], "115"),
    (lambda call: [float(call[0]), complex(call[1])], "124"),
    (lambda call: [tuple(call[0]), *call[1:]], "250 307 405 446 617 720 763 808"),
    (lambda call: [complex(call[0])], "252"),
    (lambda call: [tuple(tuple(row) for row in value) for value in call], "259 401 445"),
    (lambda call: [tuple(tuple(x) if isinstance(x, list) else x for x in call[0])], "278"),
    (lambda call: [_tuples(value) for value in call], "580 615 791"),
    (lambda call: [{key: tuple(value) for key, value in call[0].items()}, *call[1:]], "722"),
]
"""What restores a call, and the numbers of the tasks whose calls it restores."""

_BY_TASK = {int(task): restore for restore, tasks in _GROUPS for task in tasks.split()}


def restored_calls(task_id: str, calls: list[Arguments]) -> list[Arguments]:
    """The calls of one task with the types that the task's tests mean.

    >>> restored_calls("Mbpp/2", [[[3, 4], [5]]])
    [[(3, 4), (5,)]]
    """
    restore = _BY_TASK.get(int(task_id.rpartition("/")[2]))
    return calls if restore is None else [restore(call) for call in calls]
