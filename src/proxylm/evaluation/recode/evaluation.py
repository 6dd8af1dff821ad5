"""ReCode for a model: robust pass@k, drop and relative, with the likelihood form beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from proxylm.evaluation.answers.run import Answering, Answers
from proxylm.evaluation.answers.writers import PromptWriter
from proxylm.evaluation.benchmarks.problem import Benchmark
from proxylm.evaluation.recode.folder import FamilyData
from proxylm.evaluation.recode.likelihood import RobustBits, measure_family
from proxylm.evaluation.recode.statistics import (
    Aggregated,
    Robustness,
    aggregated,
    mean_of,
    robustness,
)
from proxylm.progress import TellCount, told, untold

NOMINAL = "nominal"
PARTIAL = "nominal-partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyReport:
    """One family.

    Attributes:
        seeds: by perturbation, how many variants of each problem there are.
        robustness: RP, RD and RR at 1; None where nothing was executed.
        likelihood: robust bits per byte.
    """

    seeds: dict[str, int]
    robustness: Aggregated[Robustness] | None
    likelihood: Aggregated[RobustBits]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overall:
    """The mean over the families (as in the paper's Table 4), of each aggregation."""

    robustness_mean: Robustness | None
    robustness_worst: Robustness | None
    likelihood_mean: RobustBits
    likelihood_worst: RobustBits


@dataclass(frozen=True, slots=True, kw_only=True)
class RecodeReport:
    """What an evaluation found.

    Attributes:
        read_as, prompt_end, problems: as in ``CodeReport``.
        samples: completions per prompt; 0 where nothing was generated.
        temperature: they were drawn at; 0 is greedy.
        families: by their titles.
        overall: the mean over them.
    """

    read_as: str
    prompt_end: str
    problems: int
    samples: int
    temperature: float
    families: dict[str, FamilyReport]
    overall: Overall


def evaluate_recode(
    writer: PromptWriter,
    data: Sequence[FamilyData],
    answering: Answering | None,
    *,
    progress: TellCount = untold,
) -> RecodeReport:
    """Evaluate a model on ReCode.

    Args:
        writer: the model, read as bytes or as tokens.
        data: the families.
        answering: how to generate and judge; None measures likelihoods alone.
        progress: hears how many families and perturbations are measured.
    """
    results = answering.run(writer, recode_conditions(data)) if answering else None
    executed = results if answering and answering.execute else None
    scorer = writer.scorer.telling(progress)
    families = {
        one.family.title: FamilyReport(
            seeds={name: len(seeds) for name, seeds in one.perturbations.items()},
            robustness=_robustness(one, executed) if executed else None,
            likelihood=measure_family(scorer, one, progress),
        )
        for one in told(data, "families", progress)
    }
    return RecodeReport(
        read_as=writer.read_as,
        prompt_end=writer.prompt_end,
        problems=len(data[0].nominal.problems),
        samples=answering.plan.samples if answering else 0,
        temperature=answering.plan.temperature if answering else 0.0,
        families=families,
        overall=_overall(list(families.values())),
    )


def recode_conditions(data: Sequence[FamilyData]) -> dict[str, Benchmark]:
    """Every form of the prompts by name: the nominal ones, then ``family/perturbation/s0``…"""
    conditions = {_nominal_name(one): one.nominal for one in data}
    for one in data:
        for name, seeds in one.perturbations.items():
            for seed, benchmark in enumerate(seeds):
                conditions[_variant_name(one, name, seed)] = benchmark
    return conditions


def _robustness(data: FamilyData, results: Answers) -> Aggregated[Robustness]:
    correct = {
        name: [results.correct(_variant_name(data, name, seed)) for seed in range(len(seeds))]
        for name, seeds in data.perturbations.items()
    }
    return aggregated(correct, partial(robustness, results.correct(_nominal_name(data))))


def _overall(families: Sequence[FamilyReport]) -> Overall:
    executed = [one.robustness for one in families if one.robustness is not None]
    return Overall(
        robustness_mean=mean_of([one.mean for one in executed]) if executed else None,
        robustness_worst=mean_of([one.worst for one in executed]) if executed else None,
        likelihood_mean=mean_of([one.likelihood.mean for one in families]),
        likelihood_worst=mean_of([one.likelihood.worst for one in families]),
    )


def _nominal_name(data: FamilyData) -> str:
    return PARTIAL if data.family.partial else NOMINAL


def _variant_name(data: FamilyData, perturbation: str, seed: int) -> str:
    return f"{data.family.folder}/{perturbation}/s{seed}"
