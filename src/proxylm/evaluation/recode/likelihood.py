"""Robust bits per byte: ReCode's question asked of likelihoods, with signal at any size.

Per problem, ``b`` is the bits of its canonical solution given the nominal prompt and ``b_v`` those
given variant ``v`` (of the solution as it fits that prompt). Over problems:

    nominal   sum b / sum bytes               bytes of the nominal solutions, in all forms
    robust    sum max_v b_v / sum bytes       the worst of the s variants
    drop      robust / nominal - 1            (undefined where nominal is 0)
    flip rate share of problems where some variant changes whether the solution beats a fixed
              alternative: another problem's solution (the next one's in the file) in its place,
              compared in bits per byte
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxylm.evaluation.benchmarks.problem import Problem
from proxylm.evaluation.likelihood import Bits, Scorer, solution_bytes
from proxylm.evaluation.recode.folder import FamilyData


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustBits:
    """The likelihood form of one set of variants; the module says what each number is."""

    nominal: float
    robust: float
    drop: float | None
    flip_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyBits:
    """A family: each of its perturbations, their mean, and the worst case over all of them."""

    perturbations: dict[str, RobustBits]
    mean: RobustBits
    worst: RobustBits


@dataclass(frozen=True, slots=True)
class PromptBits:
    """Of every problem under one form of the prompts: bits, and whether it beats its rival."""

    bits: Bits
    beats: NDArray[np.bool_]

    @classmethod
    def measure(cls, scorer: Scorer, problems: Sequence[Problem]) -> PromptBits:
        """Score solutions and alternatives; with a single problem there is no alternative."""
        bits = scorer.solution_bits(problems)
        rivals = [problems[(index + 1) % len(problems)].solution for index in range(len(problems))]
        rival_bits = scorer.bits([problem.prompt for problem in problems], rivals)
        rival_bytes = np.array([len(rival) for rival in rivals], dtype=np.float64)
        return cls(bits, bits / solution_bytes(problems) < rival_bits / rival_bytes)


def robust_bits(nominal: PromptBits, variants: Sequence[PromptBits], num_bytes: Bits) -> RobustBits:
    """The likelihood form of one set of variants.

    Args:
        nominal: under the nominal prompts.
        variants: under each variant, the same problems.
        num_bytes: of the nominal solutions, ``[problems]``.
    """
    worst = np.max([variant.bits for variant in variants], axis=0)
    base = nominal.bits.sum()
    flipped = np.any([variant.beats != nominal.beats for variant in variants], axis=0)
    return RobustBits(
        nominal=float(base / num_bytes.sum()),
        robust=float(worst.sum() / num_bytes.sum()),
        drop=float(worst.sum() / base - 1) if base else None,
        flip_rate=float(flipped.mean()),
    )


def family_bits(
    nominal: PromptBits, perturbations: Mapping[str, Sequence[PromptBits]], num_bytes: Bits
) -> FamilyBits:
    """A family in both aggregations."""
    single = {
        name: robust_bits(nominal, variants, num_bytes) for name, variants in perturbations.items()
    }
    together = [variant for variants in perturbations.values() for variant in variants]
    return FamilyBits(
        perturbations=single,
        mean=mean_bits(list(single.values())),
        worst=robust_bits(nominal, together, num_bytes),
    )


def mean_bits(parts: Sequence[RobustBits]) -> RobustBits:
    """The plain mean of each number; the drop is undefined if it is in any part.

    Over perturbations this is a family, over families the whole.
    """
    drops = [part.drop for part in parts if part.drop is not None]
    return RobustBits(
        nominal=_mean([part.nominal for part in parts]),
        robust=_mean([part.robust for part in parts]),
        drop=_mean(drops) if len(drops) == len(parts) else None,
        flip_rate=_mean([part.flip_rate for part in parts]),
    )


def measure_family(scorer: Scorer, data: FamilyData) -> FamilyBits:
    """Score a family's prompts with a model."""
    nominal = PromptBits.measure(scorer, data.nominal.problems)
    return family_bits(
        nominal,
        {
            name: [PromptBits.measure(scorer, benchmark.problems) for benchmark in seeds]
            for name, seeds in data.perturbations.items()
        },
        solution_bytes(data.nominal.problems),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
