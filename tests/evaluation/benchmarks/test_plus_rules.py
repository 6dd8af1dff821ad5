"""EvalPlus's types and comparisons, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from proxylm.evaluation.benchmarks.plus_comparison import agrees
from proxylm.evaluation.benchmarks.plus_inputs import restored_calls

NAN = float("nan")


@pytest.mark.parametrize(
    ("task", "call", "expected"),
    [
        (2, [[1, 2], [3]], [(1, 2), (3,)]),
        (63, [[[1, 2], [3, 4]]], [[(1, 2), (3, 4)]]),
        (75, [[[6, 24], [7]], 6], [[(6, 24), (7,)], 6]),
        (106, [[5], [9, 10]], [[5], (9, 10)]),
        (115, [[[1, 2], []]], [[{1, 2}, {}]]),
        (124, ["0", "1j"], [0.0, 1j]),
        (250, [[1, 2], 1], [(1, 2), 1]),
        (252, ["1+2j"], [1 + 2j]),
        (259, [[[1, 3]], [[6, 7]]], [((1, 3),), ((6, 7),)]),
        (278, [[1, [2, 3]]], [(1, (2, 3))]),
        (307, [["a", []], 1, 50], [("a", []), 1, 50]),
        (580, [[4, [5, [6]]]], [(4, (5, (6,)))]),
        (722, [{"a": [6.2, 70]}, 6.0], [{"a": (6.2, 70)}, 6.0]),
        (3, [[1, 2]], [[1, 2]]),
    ],
)
def test_arguments_get_their_types_back(task: int, call: list, expected: list) -> None:
    [restored] = restored_calls(f"Mbpp/{task}", [call])
    assert restored == expected
    assert repr(restored) == repr(expected)


@pytest.mark.parametrize(
    ("output", "expected", "atol", "right"),
    [
        (3, 3, 0, True),
        (3, 4, 0, False),
        (True, 1, 0, True),
        ([1, 2], [1, 2], 0, True),
        ((1, 2), [1, 2], 0, False),
        (1.0 + 5e-7, 1.0, 0, True),  # floats: 1e-6 where the problem says 0
        (1.0 + 5e-6, 1.0, 0, False),
        (1e9 + 50, 1e9, 0, True),  # and 1e-7 of the expected value
        (1.05, 1.0, 0.1, True),
        (1, 1.05, 0.1, False),  # another type is only right if it is equal
        ([1.0, 2.0], [1.0, 2.0 + 1e-7], 0, True),
        ([1.0], [1.0, 2.0], 0, False),
        ([[1.0], [2.0]], [[1.0], [2.05]], 0.1, True),
        (["a"], ["b"], 0.1, False),
        (NAN, NAN, 0, False),
        (float("inf"), float("inf"), 0, True),
        (None, 1.0, 0, False),
        ([], [], 0, True),
    ],
)
def test_equal_or_close(output: Any, expected: Any, atol: float, right: bool) -> None:
    assert agrees(output, expected, [], atol, "anything") is right


@pytest.mark.parametrize(
    ("entry_point", "arguments", "output", "expected", "right"),
    [
        ("find_zero", [[-6, 11, -6, 1]], 2.0, 1.0, True),  # (x - 1)(x - 2)(x - 3)
        ("find_zero", [[-6, 11, -6, 1]], 2.5, 1.0, False),
        ("similar_elements", [(), ()], [5, 4], (4, 5), True),
        ("similar_elements", [(), ()], [5], (4, 5), False),
        ("check_str", ["a"], object(), True, True),
        ("check_str", ["a"], None, True, False),
        ("check_str", ["a"], False, None, True),
        ("sum_div", [1], 0, 1, True),
        ("sum_div", [8], 6, 7, False),
        ("are_equivalent", [1, 2], False, True, True),
        ("surface_Area", [3, 4], 33, 0, True),  # 9 + 6·sqrt(1.5² + 4²) = 34.6…
        ("surface_Area", [3, 4], 50, 0, False),
        ("digit_distance_nums", [123, 256], 7, 0, True),  # 1 + 3 + 3
        ("digit_distance_nums", [123, 256], 6, 0, False),
    ],
)
def test_rules_of_single_tasks(
    entry_point: str, arguments: list, output: Any, expected: Any, right: bool
) -> None:
    atol = 2 if entry_point == "surface_Area" else 1e-4
    assert agrees(output, expected, arguments, atol, entry_point) is right
