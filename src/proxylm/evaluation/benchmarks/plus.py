"""HumanEval+ and MBPP+: EvalPlus's problems, judged by its many inputs against its solutions.

A problem's test holds the inputs and the canonical program. In the trusted process it calls the
candidate and the reference on equal copies of each input and compares the outputs
(``plus_comparison``); a candidate must agree on the benchmark's base inputs and on EvalPlus's.
Five calls of one problem of MBPP+ cannot be judged so (``UNJUDGED_CALLS``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from proxylm.errors import DataError, DataNotAtHandError
from proxylm.evaluation.benchmarks import plus_comparison
from proxylm.evaluation.benchmarks.plus_inputs import Arguments, restored_calls
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem, TaskFamily, benchmark_of
from proxylm.evaluation.benchmarks.records import (
    Record,
    checked_python,
    entry_point_of,
    read_records,
    text_of,
)
from proxylm.evaluation.benchmarks.stop_rules import FUNCTION_BODY, WHOLE_PROGRAM

HUMANEVAL_PLUS = "humaneval-plus"
MBPP_PLUS = "mbpp-plus"
TIMEOUT_S = 120.0
"""The slowest references take 15 s on a busy machine, and run beside each program."""
SLOW_TASKS_TIMEOUT_S = {"Mbpp/599": 480.0}
"""Sums numbers up to 10^8 a dozen times: more than a minute for the reference alone."""

MAX_RESULT_BYTES = 1 << 25
"""HumanEval/15, 100 and 130 return up to 9 MB."""
UNJUDGED_CALLS: dict[str, Callable[[Arguments], bool]] = {
    "Mbpp/255": lambda call: call[1] > 70,
}
"""Left out: five calls whose right answers (up to 1.7 million tuples of 77 texts) are too large."""

Restore = Callable[[str, list[Arguments]], list[Arguments]]
"""(task, its calls) → the calls with the types that JSON has not kept."""

_TEST = """\
import copy as _copy
from {module} import agrees as _agrees
inf, nan = float("inf"), float("nan")
_candidate = {entry_point}
{reference}
for _arguments in {calls!r}:
    _expected = {entry_point}(*_copy.deepcopy(_arguments))
    _output = _candidate(*_copy.deepcopy(_arguments))
    assert _agrees(_output, _expected, _arguments, {atol!r}, {entry_point!r}), (
        f"{entry_point} differs on {{repr(_arguments)[:100]}}")
"""


def load_humaneval_plus(path: Path | None = None) -> Benchmark:
    """HumanEval+ from ``HumanEvalPlus.jsonl[.gz]``; see ``_records`` for where None looks.

    Raises:
        DataNotAtHandError: no file is given, and EvalPlus is not there or cannot fetch it.
        DataError: the file cannot be read, or a record lacks a field.
    """
    records, origin, _ = _records(path, "HUMANEVAL_OVERRIDE_PATH", _fetch_humaneval_plus)
    problems = [_problem(record, origin, _as_they_are) for record in records]
    return benchmark_of(
        HUMANEVAL_PLUS, problems, FUNCTION_BODY, family=TaskFamily.HUMANEVAL, origin=origin
    )


def load_mbpp_plus(path: Path | None = None) -> Benchmark:
    """MBPP+ from ``MbppPlus.jsonl[.gz]``; see ``_records`` for where None looks.

    Raises:
        DataNotAtHandError: no file is given, and EvalPlus is not there or cannot fetch it.
        DataError: the file cannot be read, or a record lacks a field.
    """
    records, origin, fetched = _records(path, "MBPP_OVERRIDE_PATH", _fetch_mbpp_plus)
    # EvalPlus has restored what it gives; a set or a number restored twice is another argument.
    restore = _as_they_are if fetched else restored_calls
    problems = [_problem(record, origin, restore) for record in records]
    return benchmark_of(MBPP_PLUS, problems, WHOLE_PROGRAM, family=TaskFamily.MBPP, origin=origin)


def _records(
    path: Path | None, variable: str, fetch: Callable[[], list[Record]]
) -> tuple[list[Record], str, bool]:
    """The given file, else the one that EvalPlus's variable names, else what EvalPlus fetches.

    Returns:
        The records, their origin, and whether EvalPlus has fetched them.
    """
    named = path or (Path(os.environ[variable]) if os.environ.get(variable) else None)
    if named is not None:
        return read_records(named), str(named), False
    try:
        with redirect_stdout(sys.stderr):  # it tells of its downloads; stdout is for results
            return fetch(), "evalplus", True
    except ImportError:
        why = "EvalPlus is not installed"
    except Exception as error:  # another package's, over a network: whatever it raises
        why = f"EvalPlus could not fetch it ({type(error).__name__}: {error})"
    raise DataNotAtHandError(f"{variable} names no file, and {why}")


def _fetch_humaneval_plus() -> list[Record]:
    from evalplus.data import get_human_eval_plus

    return list(get_human_eval_plus().values())


def _fetch_mbpp_plus() -> list[Record]:
    from evalplus.data import get_mbpp_plus

    return list(get_mbpp_plus().values())


def _as_they_are(task_id: str, calls: list[Arguments]) -> list[Arguments]:
    return calls


def _problem(record: Record, origin: str, restore: Restore) -> Problem:
    task_id = text_of(record, "task_id", origin)
    prompt = text_of(record, "prompt", origin)
    solution = text_of(record, "canonical_solution", origin)
    reference = checked_python(
        prompt + solution, f"{origin}: {task_id}: 'prompt' with 'canonical_solution'"
    )
    entry_point = entry_point_of(record, reference, origin)
    calls = [call for key in ("base_input", "plus_input") for call in _calls(record, key, origin)]
    test = _TEST.format(
        module=plus_comparison.__name__,
        entry_point=entry_point,
        reference=reference,
        calls=_judged(task_id, calls, restore, origin),
        atol=_tolerance(record, origin),
    )
    return Problem(
        task_id=task_id,
        prompt=prompt.encode(),
        solution=solution.encode(),
        entry_point=entry_point,
        test=test,
        timeout_s=SLOW_TASKS_TIMEOUT_S.get(task_id, TIMEOUT_S),
        max_result_bytes=MAX_RESULT_BYTES,
    )


def _calls(record: Record, key: str, origin: str) -> list[Arguments]:
    calls = record.get(key)
    if calls == {}:  # how EvalPlus writes that it has none
        return []
    if not isinstance(calls, list) or not all(isinstance(call, list | tuple) for call in calls):
        raise DataError(f"{origin}: {record.get('task_id')}: '{key}' is not a list of calls")
    return [list(call) for call in calls]


def _judged(task_id: str, calls: list[Arguments], restore: Restore, origin: str) -> list[Arguments]:
    """The calls that are judged, their arguments' types restored."""
    unjudged = UNJUDGED_CALLS.get(task_id, lambda call: False)
    try:
        return restore(task_id, [call for call in calls if not unjudged(call)])
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise DataError(
            f"{origin}: {task_id}: a call's arguments are not what this task takes ({error})"
        ) from None


def _tolerance(record: Record, origin: str) -> float:
    atol: Any = record.get("atol")
    if isinstance(atol, bool) or not isinstance(atol, int | float):
        raise DataError(f"{origin}: {record.get('task_id')}: 'atol' is not a number")
    return atol
