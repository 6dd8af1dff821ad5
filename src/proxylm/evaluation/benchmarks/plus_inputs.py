"""MBPP+'s arguments with their types: JSON has no tuples, sets or complex numbers.

EvalPlus stores each argument as JSON and restores the types of single tasks by a table of its own
(``mbpp_deserialize_inputs``); the groups here are that table's facts. A call's arguments come in
as one list and go out as one list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Arguments = list[Any]


def _each_a_tuple(call: Arguments) -> Arguments:
    return [tuple(value) for value in call]


def _lists_of_tuples(call: Arguments) -> Arguments:
    return [[tuple(row) for row in value] for value in call]


def _tuples_of_tuples(call: Arguments) -> Arguments:
    return [tuple(tuple(row) for row in value) for value in call]


def _first_a_list_of_tuples(call: Arguments) -> Arguments:
    return [[tuple(row) for row in call[0]], call[1]]


def _first_a_tuple(call: Arguments) -> Arguments:
    return [tuple(call[0]), *call[1:]]


def _second_a_tuple(call: Arguments) -> Arguments:
    return [call[0], tuple(call[1])]


def _list_of_sets(call: Arguments) -> Arguments:
    return [[set(item) if isinstance(item, list) and item else {} for item in call[0]]]


def _tuple_with_inner_tuples(call: Arguments) -> Arguments:
    return [tuple(tuple(item) if isinstance(item, list) else item for item in call[0])]


def _values_are_tuples(call: Arguments) -> Arguments:
    return [{key: tuple(value) for key, value in call[0].items()}, *call[1:]]


def _all_lists_are_tuples(call: Arguments) -> Arguments:
    def converted(value: Any) -> Any:
        return tuple(map(converted, value)) if isinstance(value, list) else value

    return [converted(value) for value in call]


def _real_and_complex(call: Arguments) -> Arguments:
    return [float(call[0]), complex(call[1])]


def _complex(call: Arguments) -> Arguments:
    return [complex(call[0])]


_GROUPS: list[tuple[Callable[[Arguments], Arguments], str]] = [
    (
        _each_a_tuple,
        "2 116 132 143 222 261 273 394 399 421 424 429 470 560 579 596 616 630 726 740 744 809",
    ),
    (_lists_of_tuples, "63 64 70 94 120 237 272 299 400 409 417 438 473 614 780"),
    (_first_a_list_of_tuples, "75 413 444 753"),
    (_second_a_tuple, "106 750"),
    (_list_of_sets, "115"),
    (_real_and_complex, "124"),
    (_first_a_tuple, "250 307 405 446 617 720 763 808"),
    (_complex, "252"),
    (_tuples_of_tuples, "259 401 445"),
    (_tuple_with_inner_tuples, "278"),
    (_all_lists_are_tuples, "580 615 791"),
    (_values_are_tuples, "722"),
]

_BY_TASK = {int(task): restore for restore, tasks in _GROUPS for task in tasks.split()}


def restored_calls(task_id: str, calls: list[Arguments]) -> list[Arguments]:
    """The calls of one task with the types that the task's tests mean.

    >>> restored_calls("Mbpp/2", [[[3, 4], [5]]])
    [[(3, 4), (5,)]]
    """
    restore = _BY_TASK.get(int(task_id.rpartition("/")[2]))
    return calls if restore is None else [restore(call) for call in calls]
