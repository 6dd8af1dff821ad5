"""HumanEval+ and MBPP+: EvalPlus's problems, judged by its many inputs against its solutions.

A problem's test holds the inputs and the canonical program. In the trusted process it calls the
candidate and the reference on equal copies of each input and compares the outputs
(``plus_comparison``); a candidate must agree on the benchmark's base inputs and on EvalPlus's. The
base inputs alone are a test of their own: the paper's HumanEval and MBPP (Tables 1, 10 and 11).
Five calls of one problem of MBPP+ cannot be judged so (``UNJUDGED_CALLS``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path

from proxylm.errors import DataError, DataNotAtHandError
from proxylm.evaluation.benchmarks import plus_comparison
from proxylm.evaluation.benchmarks.plus_inputs import Arguments, restored_calls
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem, benchmark_of
from proxylm.evaluation.benchmarks.records import Record, read_records
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
    records, origin, _ = _records(path, "HUMANEVAL_OVERRIDE_PATH", "get_human_eval_plus")
    problems = [_problem(record, restore=False) for record in records]
    return benchmark_of(HUMANEVAL_PLUS, problems, FUNCTION_BODY, family="humaneval", origin=origin)


def load_mbpp_plus(path: Path | None = None) -> Benchmark:
    """MBPP+ from ``MbppPlus.jsonl[.gz]``; see ``_records`` for where None looks.

    Raises:
        DataNotAtHandError: no file is given, and EvalPlus is not there or cannot fetch it.
        DataError: the file cannot be read, or a record lacks a field.
    """
    records, origin, fetched = _records(path, "MBPP_OVERRIDE_PATH", "get_mbpp_plus")
    # EvalPlus has restored what it gives; a set or a number restored twice is another argument.
    problems = [_problem(record, restore=not fetched) for record in records]
    return benchmark_of(MBPP_PLUS, problems, WHOLE_PROGRAM, family="mbpp", origin=origin)


def _records(path: Path | None, variable: str, fetch: str) -> tuple[list[Record], str, bool]:
    """The given file, else the one that EvalPlus's variable names, else what EvalPlus fetches.

    Returns:
        The records, their origin, and whether EvalPlus has fetched them.
    """
    named = path or (Path(os.environ[variable]) if os.environ.get(variable) else None)
    if named is not None:
        return read_records(named), str(named), False
    try:
        with redirect_stdout(sys.stderr):  # it tells of its downloads; stdout is for results
            fetched = getattr(import_module("evalplus.data"), fetch)()
    except ImportError:
        why = "EvalPlus is not installed"
    except Exception as error:  # another package's, over a network: whatever it raises
        why = f"EvalPlus could not fetch it ({type(error).__name__}: {error})"
    else:
        origin = "evalplus"
        return [Record(fields=each, origin=origin) for each in fetched.values()], origin, True
    raise DataNotAtHandError(f"{variable} names no file, and {why}")


def _problem(record: Record, *, restore: bool) -> Problem:
    task_id = record.text("task_id")
    prompt, solution = record.text("prompt"), record.text("canonical_solution")
    reference = record.python(prompt + solution, "'prompt' with 'canonical_solution'")
    entry_point = record.entry_point(reference)

    def test_of(*keys: str) -> str:
        return _TEST.format(
            module=plus_comparison.__name__,
            entry_point=entry_point,
            reference=reference,
            calls=_judged_calls(record, keys, restore=restore),
            atol=_tolerance(record),
        )

    return Problem(
        task_id=task_id,
        prompt=prompt.encode(),
        solution=solution.encode(),
        entry_point=entry_point,
        test=test_of("base_input", "plus_input"),
        base_test=test_of("base_input"),
        timeout_s=SLOW_TASKS_TIMEOUT_S.get(task_id, TIMEOUT_S),
        max_result_bytes=MAX_RESULT_BYTES,
    )


def _judged_calls(record: Record, keys: Sequence[str], *, restore: bool) -> list[Arguments]:
    """The calls that are judged, their arguments' types restored where JSON has lost them."""
    task_id = record.text("task_id")
    calls = [call for key in keys for call in _calls(record, key)]
    unjudged = UNJUDGED_CALLS.get(task_id, lambda call: False)
    try:
        judged = [call for call in calls if not unjudged(call)]
        return restored_calls(task_id, judged) if restore else judged
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise DataError(
            f"{record.where}: a call's arguments are not what this task takes ({error})"
        ) from None


def _calls(record: Record, key: str) -> list[Arguments]:
    calls = record.fields.get(key)
    if calls == {}:  # how EvalPlus writes that it has none
        return []
    if not isinstance(calls, list) or not all(isinstance(call, list | tuple) for call in calls):
        raise DataError(f"{record.where}: '{key}' is not a list of calls")
    return [list(call) for call in calls]


def _tolerance(record: Record) -> float:
    atol = record.fields.get("atol")
    if isinstance(atol, bool) or not isinstance(atol, int | float):
        raise DataError(f"{record.where}: 'atol' is not a number")
    return atol
