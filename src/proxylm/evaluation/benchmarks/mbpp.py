"""MBPP: as it was released (text, code, asserts), or in HumanEval's form, as ReCode ships it.

The release's problems become docstring prompts: the task and its first assert, after which the
model writes the whole program. (EvalPlus prompts its form of them in the same way.) Prompts of
HumanEval's form end inside a function; three of the solutions go on with another function, so
neither form stops there.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

from proxylm.errors import DataError, DataNotAtHandError
from proxylm.evaluation.benchmarks.humaneval import TIMEOUT_S, function_problem
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem, benchmark_of
from proxylm.evaluation.benchmarks.records import Record, read_records
from proxylm.evaluation.benchmarks.stop_rules import WHOLE_PROGRAM

NAME = "mbpp"


def load_mbpp(path: Path | None) -> Benchmark:
    """MBPP from ``mbpp.jsonl``, ``sanitized-mbpp.json``, or a file of HumanEval's form.

    Raises:
        DataNotAtHandError: no file is given.
        DataError: the file cannot be read, or a record lacks a field.
    """
    if path is None:
        raise DataNotAtHandError("MBPP (mbpp.jsonl) comes with no package")
    records = read_records(path)
    is_humaneval_form = bool(records) and "canonical_solution" in records[0]
    read = function_problem if is_humaneval_form else _released_problem
    problems = [read(record) for record in records]
    return benchmark_of(NAME, problems, WHOLE_PROGRAM, family=NAME, origin=str(path))


def _released_problem(record: Record) -> Problem:
    number = record.fields.get("task_id")
    task_id = f"MBPP/{number if isinstance(number, int) else record.text('task_id')}"
    record = replace(record, fields=record.fields | {"task_id": task_id})
    # The sanitized file calls the task "prompt".
    task = record.text("text" if "text" in record else "prompt")
    code = record.text("code").replace("\r\n", "\n")
    asserts = record.texts("test_list")
    if not asserts:
        raise DataError(f"{record.where} has no test")
    return Problem(
        task_id=task_id,
        prompt=f'"""\n{task}\n{asserts[0]}\n"""\n'.encode(),
        solution=(code.rstrip("\n") + "\n").encode(),
        entry_point=_tested_function(record, code, asserts[0]),
        test=record.python(
            "\n".join([*_setup(record), *asserts]), "the setup of its tests, or one of them,"
        ),
        timeout_s=TIMEOUT_S,
    )


def _setup(record: Record) -> list[str]:
    """What comes before the asserts: code in the one release, imports in the sanitized one."""
    parts = [record.text("test_setup_code")] if "test_setup_code" in record else []
    return parts + (record.texts("test_imports") if "test_imports" in record else [])


def _tested_function(record: Record, code: str, test: str) -> str:
    """The function of the program that the assert calls."""
    try:
        defined = {node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}
        calls = [node.func for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError) as error:  # a NUL character is the latter
        raise DataError(f"{record.where}: not Python ({error})") from None
    for function in calls:
        if isinstance(function, ast.Name) and function.id in defined:
            return function.id
    raise DataError(f"{record.where}: its first test calls no function of its program")
