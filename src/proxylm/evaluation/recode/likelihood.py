"""Robust bits per byte: ReCode's question asked of likelihoods, with signal at any size.

Per problem, ``r`` is the bits per byte of its canonical solution ``y`` given the nominal prompt and
``r_v`` those of the solution that fits variant ``v``, given the variant. Perturbations change what
a solution is (names, loops, tabs), so each counts over its own bytes; problems are weighted by the
bytes of ``y`` in all forms:

    nominal   sum |y| r / sum |y|
    robust    sum |y| max_v r_v / sum |y|     the worst of the s variants
    drop      robust / nominal - 1            (undefined where nominal is 0)
    flip rate share of problems where some variant changes whether the solution costs fewer bits
              per byte than a fixed alternative in its place: the nominal solution of the next
              problem in the file, the same under every variant
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxylm.evaluation.benchmarks.problem import Problem
from proxylm.evaluation.likelihood import Bits, Scorer, solution_bytes
from proxylm.evaluation.recode.folder import FamilyData
from proxylm.evaluation.recode.statistics import Aggregated, aggregated
from proxylm.progress import TellCount, told, untold


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustBits:
    """The likelihood form of one set of variants; the module says what each number is."""

    nominal: float
    robust: float
    drop: float | None
    flip_rate: float


@dataclass(frozen=True, slots=True)
class PromptBits:
    """``[problems]`` under one form of the prompts: bits per byte, and whether they beat rivals."""

    bits_per_byte: Bits
    beats: NDArray[np.bool_]

    @classmethod
    def measure(
        cls, scorer: Scorer, problems: Sequence[Problem], rivals: Sequence[bytes]
    ) -> PromptBits:
        """Score solutions, and rivals in their place."""
        own = scorer.solution_bits(problems) / solution_bytes(problems)
        rival_bits = scorer.bits([problem.prompt for problem in problems], rivals)
        rival_bytes = np.array([len(rival) for rival in rivals], dtype=np.float64)
        return cls(own, own < rival_bits / rival_bytes)


def rivals_of(nominal: Sequence[Problem]) -> list[bytes]:
    """Each problem's fixed alternative: the next one's nominal solution.

    A single problem's is its own.
    """
    return [problem.solution for problem in [*nominal[1:], nominal[0]]]


def robust_bits(nominal: PromptBits, variants: Sequence[PromptBits], num_bytes: Bits) -> RobustBits:
    """The likelihood form of one set of variants.

    Args:
        nominal: under the nominal prompts.
        variants: under each variant, the same problems.
        num_bytes: of the nominal solutions, ``[problems]``.
    """
    worst = np.max([variant.bits_per_byte for variant in variants], axis=0)
    flipped = np.any([variant.beats != nominal.beats for variant in variants], axis=0)
    base = float(np.average(nominal.bits_per_byte, weights=num_bytes))
    robust = float(np.average(worst, weights=num_bytes))
    return RobustBits(
        nominal=base,
        robust=robust,
        drop=robust / base - 1 if base else None,
        flip_rate=float(flipped.mean()),
    )


def measure_family(
    scorer: Scorer, data: FamilyData, progress: TellCount = untold
) -> Aggregated[RobustBits]:
    """Score a family's prompts with a model."""
    rivals = rivals_of(data.nominal.problems)
    nominal, num_bytes = data.nominal.problems, solution_bytes(data.nominal.problems)
    measured = {
        name: [PromptBits.measure(scorer, benchmark.problems, rivals) for benchmark in seeds]
        for name, seeds in told(list(data.perturbations.items()), "perturbations", progress)
    }
    own = PromptBits.measure(scorer, nominal, rivals)
    return aggregated(measured, lambda variants: robust_bits(own, variants, num_bytes))
