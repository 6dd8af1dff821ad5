"""Prompt boundary: how much a result depends on the white space that a prompt ends with.

The trailing white space of each prompt is stripped and one of nine suffixes put in its place
(paper, D.11, Table 15); the report is the mean and the population standard deviation over them.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace

from proxylm.errors import UsageError
from proxylm.evaluation.answers.run import Answering
from proxylm.evaluation.answers.writers import PromptWriter
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem
from proxylm.evaluation.likelihood import solution_bytes
from proxylm.evaluation.pass_at_k import pass_at_k
from proxylm.progress import TellCount, told, untold
from proxylm.scoring.read_as import PromptEnd

SUFFIXES = (
    b"",
    b" \n",
    b"\n",
    b"\n ",
    b"\n  ",
    b"\n   ",
    b"\n    ",
    b"\n\n",
    b"\n\t",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A score under every suffix.

    Attributes:
        by_suffix: the score under each, by the suffix as a JSON string.
        mean: over the suffixes.
        standard_deviation: of the population of the nine.
    """

    by_suffix: dict[str, float]
    mean: float
    standard_deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryReport:
    """What an evaluation found.

    Attributes:
        benchmark, read_as, prompt_end, problems: as in ``CodeReport``.
        pass_at_1: under each suffix; None where nothing was executed.
        solution_bits_per_byte: of what each suffix leaves of the canonical solutions, over the
            solutions' own bytes, so that the denominator is the same under every suffix.
    """

    benchmark: str
    read_as: str
    prompt_end: str
    problems: int
    pass_at_1: Spread | None
    solution_bits_per_byte: Spread


def evaluate_boundary(
    writer: PromptWriter,
    benchmark: Benchmark,
    answering: Answering | None,
    *,
    progress: TellCount = untold,
) -> BoundaryReport:
    """Evaluate a model on a benchmark under every suffix.

    Args:
        writer: the model, read as bytes or as tokens.
        benchmark: the problems.
        answering: how to generate and judge; None measures likelihoods alone.
        progress: hears how many suffixes are measured.

    Raises:
        UsageError: prompts are stripped, so that every suffix would be read as none.
    """
    if writer.prompt_end is PromptEnd.STRIP:
        raise UsageError(
            "--prompt-end strip would take every suffix away: choose keep, heal or exact"
        )
    conditions = boundary_conditions(benchmark)
    passed = None
    if answering is not None:
        results = answering.run(writer, conditions)
        if answering.execute:
            passed = spread(
                {name: pass_at_k(list(results.correct(name).values()), 1) for name in conditions}
            )
    scorer = writer.scorer.telling(progress)
    num_bytes = solution_bytes(benchmark.problems).sum()
    bits = {
        name: float(scorer.solution_bits(condition.problems).sum() / num_bytes)
        for name, condition in told(list(conditions.items()), "prompt endings", progress)
    }
    return BoundaryReport(
        benchmark=benchmark.name,
        read_as=writer.read_as,
        prompt_end=writer.prompt_end,
        problems=len(benchmark.problems),
        pass_at_1=passed,
        solution_bits_per_byte=spread(bits),
    )


def suffix_name(suffix: bytes) -> str:
    r"""A suffix as it can be read: ``"\\n  "``."""
    return json.dumps(suffix.decode())


def boundary_conditions(benchmark: Benchmark) -> dict[str, Benchmark]:
    """The benchmark under each suffix, by the suffix's name."""
    return {
        suffix_name(suffix): replace(
            benchmark,
            problems=tuple(with_suffix(problem, suffix) for problem in benchmark.problems),
        )
        for suffix in SUFFIXES
    }


def with_suffix(problem: Problem, suffix: bytes) -> Problem:
    """The problem with its prompt's trailing white space replaced, and a solution that fits.

    The solution is what is left of the canonical continuation after the suffix; where the suffix
    is no beginning of it, its lines follow on a new line (blank lines change no program).
    """
    stripped = problem.prompt.rstrip()
    rest = problem.prompt[len(stripped) :] + problem.solution
    if rest.startswith(suffix):
        solution = rest[len(suffix) :]
    elif suffix.endswith(b"\n"):
        solution = rest.removeprefix(b"\n")
    else:
        solution = b"\n" + rest.removeprefix(b"\n")
    return replace(problem, prompt=stripped + suffix, solution=solution)


def spread(scores: Mapping[str, float]) -> Spread:
    """Mean and population standard deviation of a score under each suffix."""
    values = list(scores.values())
    return Spread(
        by_suffix=dict(scores),
        mean=statistics.fmean(values),
        standard_deviation=statistics.pstdev(values),
    )
