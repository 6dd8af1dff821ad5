"""Code generation: pass@k of a benchmark, with the bits per byte of its solutions beside it."""

from __future__ import annotations

from dataclasses import dataclass

from proxylm.evaluation.answers.run import Answering
from proxylm.evaluation.answers.writers import PromptWriter
from proxylm.evaluation.benchmarks.problem import Benchmark
from proxylm.evaluation.likelihood import solution_bits_per_byte

PLAIN = "plain"
"""The one condition: the prompts as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeReport:
    """What an evaluation found.

    Attributes:
        benchmark: its name.
        read_as: ``bytes`` or ``tokens``.
        prompt_end: what is read of a prompt's end.
        problems: how many.
        solution_bits_per_byte: of the canonical solutions given their prompts.
        samples: completions per problem; 0 where nothing was generated.
        pass_at: pass@k by k; None where nothing was executed.
        statuses: how many samples passed, failed, timed out, crashed or were invalid.
    """

    benchmark: str
    read_as: str
    prompt_end: str
    problems: int
    solution_bits_per_byte: float
    samples: int
    pass_at: dict[str, float] | None
    statuses: dict[str, int] | None


def evaluate_code(
    writer: PromptWriter, benchmark: Benchmark, answering: Answering | None
) -> CodeReport:
    """Evaluate a model on a benchmark.

    Args:
        writer: the model, read as bytes or as tokens.
        benchmark: the problems.
        answering: how to generate and judge; None measures likelihoods alone.
    """
    answers = answering.run(writer, {PLAIN: benchmark}) if answering else None
    scorer = writer.scorer
    return CodeReport(
        benchmark=benchmark.name,
        read_as=writer.read_as,
        prompt_end=writer.prompt_end,
        problems=len(benchmark.problems),
        solution_bits_per_byte=solution_bits_per_byte(scorer, benchmark.problems),
        samples=answering.plan.samples if answering else 0,
        pass_at=answers.pass_at(PLAIN) if answers else None,
        statuses=answers.statuses() if answers else None,
    )
