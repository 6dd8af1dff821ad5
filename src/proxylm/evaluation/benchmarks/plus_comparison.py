"""When an output of a candidate agrees with the reference's, by EvalPlus's rules.

Runs in the trusted process, imported by the tests that ``plus`` writes. Equal is right. Numbers
may differ by ``atol + 1e-7 |expected|`` (``atol`` is the problem's, or 1e-6 where that is 0 and
floats are expected) if the types are equal. Some tasks have more than one right answer and a rule
of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

RELATIVE_TOLERANCE = 1e-7
FLOAT_TOLERANCE = 1e-6

Rule = Callable[[Any, Any, Sequence[Any], float], bool]
"""(output, expected output, arguments, atol) → whether they agree."""


def agrees(
    output: Any, expected: Any, arguments: Sequence[Any], atol: float, entry_point: str
) -> bool:
    """Whether an output is right.

    Args:
        output: the candidate's, plain data or an opaque handle.
        expected: the reference's.
        arguments: of the call.
        atol: the problem's absolute tolerance.
        entry_point: names the task's own rule, if it has one.
    """
    rule = _RULES.get(entry_point, _equal_or_close)
    return bool(rule(output, expected, arguments, atol))


def _equal_or_close(output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> bool:
    if output == expected:
        return True
    tolerance = FLOAT_TOLERANCE if atol == 0 and _is_floats(expected) else atol
    return tolerance != 0 and type(output) is type(expected) and _close(output, expected, tolerance)


def _is_floats(value: Any) -> bool:
    if isinstance(value, list | tuple) and value:
        return all(isinstance(item, float) for item in value)
    return isinstance(value, float)


def _close(output: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, list | tuple):
        return (
            isinstance(output, list | tuple)
            and len(output) == len(expected)
            and all(_close(*pair, tolerance) for pair in zip(output, expected, strict=True))
        )
    if not isinstance(output, int | float | complex) or not isinstance(
        expected, int | float | complex
    ):
        return False
    allowed = tolerance + RELATIVE_TOLERANCE * abs(expected)
    return output == expected or abs(output - expected) <= allowed


def _is_root(output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> bool:
    """HumanEval/32: any zero of the polynomial will do."""
    [coefficients] = arguments
    value = sum(factor * math.pow(output, power) for power, factor in enumerate(coefficients))
    return abs(value) <= atol


def _same_elements(output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> bool:
    """Several tasks ask for elements in any order."""
    return set(output) == set(expected)


def _found_something(output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> bool:
    """Tasks whose outputs are match objects: only whether there is one counts."""
    found = output if isinstance(output, bool) else output is not None
    return found == (expected is not None)


def _anything(output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> bool:
    """Mbpp/164: its description does not determine the answer."""
    return True


def _or_zero(output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> bool:
    """Mbpp/295: 0 is accepted beside the sum of proper divisors."""
    return output == expected or output == 0


def _pyramid_surface(output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> bool:
    """Mbpp/581: "height" may also be read as the distance from base to apex."""
    edge, height = arguments
    slant = math.hypot(edge / 2, height)
    other = round(edge**2 + 2 * edge * slant)
    return output == expected or abs(output - other) <= atol


def _digit_distance(output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> bool:
    """Mbpp/558: the sum of digit differences of the zero-padded numbers is accepted, too."""
    first, second = map(str, arguments)
    width = max(len(first), len(second))
    pairs = zip(first.zfill(width), second.zfill(width), strict=True)
    return output == expected or output == sum(abs(int(a) - int(b)) for a, b in pairs)


_RULES: dict[str, Rule] = {
    "find_zero": _is_root,
    "are_equivalent": _anything,
    "sum_div": _or_zero,
    "surface_Area": _pyramid_surface,
    "digit_distance_nums": _digit_distance,
    **dict.fromkeys(["check_str", "text_match_three", "text_starta_endb"], _found_something),
    **dict.fromkeys(
        [
            "similar_elements",
            "find_char_long",
            "common_in_nested_lists",
            "extract_singly",
            "larg_nnum",
            "intersection_array",
            "find_dissimilar",
            "Diff",
        ],
        _same_elements,
    ),
}
