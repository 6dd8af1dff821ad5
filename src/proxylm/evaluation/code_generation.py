"""Code generation: pass@k of a benchmark, with the bits per byte of its solutions beside it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from proxylm.evaluation.answers.run import Answering, Passes
from proxylm.evaluation.answers.writers import PromptWriter
from proxylm.evaluation.benchmarks.problem import Benchmark
from proxylm.evaluation.likelihood import solution_bits_per_byte
from proxylm.progress import TellCount, untold

PLAIN = "plain"
"""The one condition: the prompts as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledPasses(Passes):
    """How drawn programs fared: a pass@1 of these is not the greedy one.

    Attributes:
        temperature, top_p: how they were drawn.
    """

    temperature: float
    top_p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeReport(Passes):
    """What an evaluation found; pass@1 and its like are those of the greedy completions.

    Attributes:
        benchmark: its name.
        read_as: ``bytes`` or ``tokens``.
        prompt_end: what is read of a prompt's end.
        problems: how many.
        solution_bits_per_byte: of the canonical solutions given their prompts.
        sampled: the same of samples, from which comes pass@10; None where none were asked for.
    """

    benchmark: str
    read_as: str
    prompt_end: str
    problems: int
    solution_bits_per_byte: float
    sampled: SampledPasses | None = None


def evaluate_code(
    writer: PromptWriter,
    benchmark: Benchmark,
    answering: Answering | None,
    sampling: Answering | None = None,
    *,
    progress: TellCount = untold,
) -> CodeReport:
    """Evaluate a model on a benchmark.

    Args:
        writer: the model, read as bytes or as tokens.
        benchmark: the problems.
        answering: how to generate greedily and judge; None measures likelihoods alone.
        sampling: how to draw samples and judge, for pass@10; None draws none.
        progress: hears how much of the solutions has been read.
    """
    scorer = writer.scorer.telling(progress)
    greedy = answering.run(writer, {PLAIN: benchmark}).passes(PLAIN) if answering else Passes()
    return CodeReport(
        **_fields(greedy),
        benchmark=benchmark.name,
        read_as=writer.read_as,
        prompt_end=writer.prompt_end,
        problems=len(benchmark.problems),
        solution_bits_per_byte=solution_bits_per_byte(scorer, benchmark.problems),
        sampled=_sampled(writer, benchmark, sampling) if sampling else None,
    )


def _sampled(writer: PromptWriter, benchmark: Benchmark, sampling: Answering) -> SampledPasses:
    passes = sampling.run(writer, {PLAIN: benchmark}).passes(PLAIN)
    plan = sampling.plan
    return SampledPasses(**_fields(passes), temperature=plan.temperature, top_p=plan.top_p)


def _fields(passes: Passes) -> dict[str, Any]:
    return {one.name: getattr(passes, one.name) for one in fields(Passes)}
