"""MBPP: as it was released (text, code, asserts), or in HumanEval's form, as ReCode ships it.

The release's problems become docstring prompts: the task and its first assert, after which the
model writes the whole program. (EvalPlus prompts its form of them in the same way.) Prompts of
HumanEval's form end inside a function; three of the solutions go on with another function, so
neither form stops there.
"""

from __future__ import annotations

import ast
from pathlib import Path

from proxylm.errors import DataError
from proxylm.evaluation.benchmarks.humaneval import TIMEOUT_S, function_problem
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem, TaskFamily, benchmark_of
from proxylm.evaluation.benchmarks.records import (
    Record,
    checked_python,
    checked_text,
    read_records,
    text_of,
)
from proxylm.evaluation.benchmarks.stop_rules import WHOLE_PROGRAM

NAME = "mbpp"


def load_mbpp(path: Path) -> Benchmark:
    """MBPP from ``mbpp.jsonl``, ``sanitized-mbpp.json``, or a file of HumanEval's form.

    Raises:
        DataError: the file cannot be read, or a record lacks a field.
    """
    records = read_records(path)
    if records and "canonical_solution" in records[0]:
        problems = [function_problem(record, str(path)) for record in records]
    else:
        problems = [_released_problem(record, str(path)) for record in records]
    return benchmark_of(NAME, problems, WHOLE_PROGRAM, family=TaskFamily.MBPP, origin=str(path))


def _released_problem(record: Record, origin: str) -> Problem:
    task_id = _task_id(record, origin)
    # The sanitized file calls the task "prompt".
    task = text_of(record, "text" if "text" in record else "prompt", origin)
    code = text_of(record, "code", origin).replace("\r\n", "\n")
    asserts = _texts(record, "test_list", task_id, origin)
    if not asserts:
        raise DataError(f"{origin}: {task_id} has no test")
    return Problem(
        task_id=task_id,
        prompt=f'"""\n{task}\n{asserts[0]}\n"""\n'.encode(),
        solution=(code.rstrip("\n") + "\n").encode(),
        entry_point=_tested_function(code, asserts[0], task_id, origin),
        test=checked_python(
            "\n".join([*_setup(record, task_id, origin), *asserts]),
            f"{origin}: {task_id}: the setup of its tests, or one of them,",
        ),
        timeout_s=TIMEOUT_S,
    )


def _task_id(record: Record, origin: str) -> str:
    number = record.get("task_id")
    if isinstance(number, int):
        return f"MBPP/{number}"
    return f"MBPP/{text_of(record, 'task_id', origin)}"


def _setup(record: Record, task_id: str, origin: str) -> list[str]:
    """What comes before the asserts: code in the one release, imports in the sanitized one."""
    parts = []
    if "test_setup_code" in record:
        parts.append(text_of(record, "test_setup_code", origin))
    if "test_imports" in record:
        parts += _texts(record, "test_imports", task_id, origin)
    return parts


def _texts(record: Record, key: str, task_id: str, origin: str) -> list[str]:
    values = record.get(key)
    if not isinstance(values, list):
        raise DataError(f"{origin}: {task_id}: '{key}' is not a list of texts")
    return [checked_text(value, f"{origin}: {task_id}: a text of '{key}'") for value in values]


def _tested_function(code: str, test: str, task_id: str, origin: str) -> str:
    """The function of the program that the assert calls."""
    try:
        defined = {node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}
        calls = [node.func for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError) as error:  # a NUL character is the latter
        raise DataError(f"{origin}: {task_id}: not Python ({error})") from None
    for function in calls:
        if isinstance(function, ast.Name) and function.id in defined:
            return function.id
    raise DataError(f"{origin}: {task_id}: its first test calls no function of its program")
