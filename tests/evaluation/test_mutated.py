"""Mutations are programs, other ones, and what a model chooses between."""

from __future__ import annotations

import ast
import tokenize
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmark_data import DATA, HUMANEVAL
from oracle_models import ReplayModel, ScriptedModule, token_scripts
from proxylm.compressors.registry import load_compressor
from proxylm.errors import DataError
from proxylm.evaluation.answers.writers import BytesWriter, TokensWriter
from proxylm.evaluation.benchmarks.humaneval import load_humaneval
from proxylm.evaluation.benchmarks.plus import load_mbpp_plus
from proxylm.evaluation.benchmarks.problem import Problem
from proxylm.evaluation.mutated import (
    MutatedSettings,
    _accuracy,
    evaluate_mutated,
    mutations_of,
)

PROBLEMS = load_humaneval(HUMANEVAL).problems + load_mbpp_plus(DATA / "MbppPlus.jsonl").problems


def problem_of(prompt: str, solution: str) -> Problem:
    return Problem(
        task_id="Mine/0",
        prompt=prompt.encode(),
        solution=solution.encode(),
        entry_point="f",
        test="",
        timeout_s=1.0,
    )


def tokens(text: bytes) -> list[str]:
    return [token.string for token in tokenize.generate_tokens(StringIO(text.decode()).readline)]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.task_id)
def test_a_mutation_is_a_program_that_differs_in_one_token(problem: Problem) -> None:
    found = mutations_of(problem, MutatedSettings(mutations=8))
    assert len(set(found)) == len(found) > 0
    whole = problem.prompt + problem.solution
    for text in found:
        assert ast.dump(ast.parse(problem.prompt + text)) != ast.dump(ast.parse(whole))
        before, after = tokens(whole), tokens(problem.prompt + text)
        assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


def test_mutations_depend_on_the_seed_and_the_problem_alone() -> None:
    problem = PROBLEMS[0]
    first = mutations_of(problem, MutatedSettings(mutations=3))
    assert mutations_of(problem, MutatedSettings(mutations=3)) == first
    assert mutations_of(problem, MutatedSettings(mutations=3, seed=1)) != first
    assert len(first) == 3


def test_all_kinds_of_tokens_are_changed() -> None:
    problem = problem_of(
        "def f(x, yy):\n", "    if x < 3 and yy:\n        return x + 1\n    return min(yy, x)\n"
    )
    found = {text.decode() for text in mutations_of(problem, MutatedSettings(mutations=99))}
    changes = ("x <= 3", "x < 4", "3 or yy", "x - 1", "max(yy, x)", "if yy < 3", "min(x, x)")
    for change in changes:
        assert any(change in text for text in found), change
    assert all(text.startswith("    ") for text in found)


def test_two_arguments_of_one_name_are_no_program() -> None:
    problem = problem_of('"""Doc."""\n', "def f(a, b):\n    return a\n")
    found = mutations_of(problem, MutatedSettings(mutations=99))
    assert found == [b"def f(a, b):\n    return b\n"]


def test_only_line_feeds_end_lines() -> None:
    problem = problem_of("def f(x):\n", "    # a\u2028b\x0cc\n    return x + 1\n")
    found = {text.decode() for text in mutations_of(problem, MutatedSettings(mutations=99))}
    start = "    # a\u2028b\x0cc\n    return "
    assert found == {f"{start}x - 1\n", f"{start}x + 2\n"}


def test_what_python_warns_of_is_not_told(recwarn: pytest.WarningsRecorder) -> None:
    problem = problem_of("def f(x):\n", "    return x + '\\d'\n")
    assert mutations_of(problem, MutatedSettings()) == [b"    return x - '\\d'\n"]
    assert not recwarn.list


@pytest.mark.parametrize("solution", ["    pass\n", "  return (\n", "    \x00\n"])
def test_what_cannot_be_mutated_has_no_mutations(solution: str) -> None:
    assert mutations_of(problem_of("def f():\n", solution), MutatedSettings()) == []


def test_a_model_of_the_solutions_is_right_in_both_readings() -> None:
    benchmark = load_humaneval(HUMANEVAL)
    compressor = load_compressor("units:bits=8")
    tokens_model = ReplayModel(
        (), module=ScriptedModule(token_scripts(benchmark.problems, compressor))
    )
    for writer in (
        BytesWriter(ReplayModel(benchmark.problems)),
        TokensWriter(tokens_model, compressor),
    ):
        report = evaluate_mutated(writer, benchmark)
        assert (report.accuracy, report.standard_error) == (1.0, 0.0)
        assert report.accuracy_per_byte == 1.0
        assert report.read_as == writer.read_as
        assert (report.problems, report.mutations) == (3, 13)


def test_a_model_of_one_mutation_is_wrong_about_that_one() -> None:
    benchmark = load_humaneval(HUMANEVAL)
    settings = MutatedSettings(mutations=2)

    def first_mutation(problem: Problem) -> bytes:
        return mutations_of(problem, settings)[0]

    writer = BytesWriter(ReplayModel(benchmark.problems, first_mutation))
    report = evaluate_mutated(writer, benchmark, settings)
    assert report.accuracy <= 0.5 and report.mutations == 6


def test_a_tie_counts_half_and_problems_count_alike() -> None:
    costs = np.array([1.0, 2.0, 1.0, 5.0, 4.0, 6.0])  # (1 | 2, 1) and (5 | 4, 6)
    accuracy, error = _accuracy(costs, [3, 3])
    assert accuracy == pytest.approx((0.75 + 0.5) / 2)
    assert error == pytest.approx(0.125)


def test_bits_per_byte_do_not_see_the_length() -> None:
    problem = problem_of("def f(x):\n", "    return x < 3.5\n")  # its mutation has a byte more
    benchmark = replace(load_humaneval(HUMANEVAL), problems=(problem,))
    writer: Any = SimpleNamespace(read_as="bytes", prompt_end="keep")
    scorer: Any = SimpleNamespace(bits=lambda _, texts: np.array([8.0 * len(t) for t in texts]))
    scorer.telling = lambda _: scorer
    writer.scorer = scorer
    report = evaluate_mutated(writer, benchmark)
    assert (report.mutations, report.accuracy, report.accuracy_per_byte) == (1, 1.0, 0.5)


def test_attributes_are_no_variables() -> None:
    problem = problem_of("def f(x, y):\n", "    return x.y\n")
    assert mutations_of(problem, MutatedSettings()) == [b"    return y.y\n"]


def test_problems_without_mutations_are_left_out() -> None:
    benchmark = load_humaneval(HUMANEVAL)
    nothing = problem_of("def f():\n", "    pass\n")
    writer = BytesWriter(ReplayModel(benchmark.problems))
    some = replace(benchmark, problems=(*benchmark.problems, nothing))
    assert evaluate_mutated(writer, some).left_out == 1
    with pytest.raises(DataError, match="no solution can be mutated"):
        evaluate_mutated(writer, replace(benchmark, problems=(nothing,)))
