"""ReCode's scores: robust pass, robust drop and robust relative, per perturbation and family.

A *variant* is a problem's prompt under one perturbation and seed. Sample ``j`` of a problem is the
``j``-th generation for its nominal prompt and for each variant. docs/evaluation.md, "Robustness:
ReCode", has the formulas, over the counts ``rc``, ``lost`` and ``won`` of a problem's samples, and
the two ways in which a family is taken together; the names are the same here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from proxylm.errors import DataError
from proxylm.evaluation.pass_at_k import hit_probability, mean, pass_at_k

Correct = Mapping[str, Sequence[bool]]
"""By problem, whether each sample is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """One set of variants beside its nominal form.

    Attributes:
        nominal: pass@k of the nominal prompts.
        robust_pass: ``RP@k``.
        robust_drop: ``RD@k``; None where nominal is 0.
        robust_relative: ``RR@k``.
    """

    nominal: float
    robust_pass: float
    robust_drop: float | None
    robust_relative: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRobustness:
    """A family: each of its perturbations, their mean, and the worst case over all of them."""

    perturbations: dict[str, Robustness]
    mean: Robustness
    worst: Robustness


def robustness(nominal: Correct, variants: Sequence[Correct], k: int = 1) -> Robustness:
    """The scores over one set of variants.

    Args:
        nominal: the nominal prompts' results.
        variants: the same problems' results under each variant, as many samples each.
        k: as in pass@k.

    Raises:
        DataError: a variant lacks a problem or a sample, or there is no variant.
        UsageError: ``k`` exceeds the number of samples.
    """
    if not variants:
        raise DataError("no variant to compare with the nominal prompts")
    kept, changed = [], []
    for task, right in nominal.items():
        rows = [_results(variant, task, len(right)) for variant in variants]
        always = [all(column) for column in zip(*rows, strict=True)]
        ever = [any(column) for column in zip(*rows, strict=True)]
        lost = sum(one and not all_right for one, all_right in zip(right, always, strict=True))
        won = sum(not one and some for one, some in zip(right, ever, strict=True))
        kept.append(hit_probability(len(right), sum(always), k))
        changed.append(hit_probability(len(right), lost, k) + hit_probability(len(right), won, k))
    base = pass_at_k(list(nominal.values()), k)
    robust = mean(kept)
    return Robustness(
        nominal=base,
        robust_pass=robust,
        robust_drop=(base - robust) / base if base else None,
        robust_relative=mean(changed),
    )


def family_robustness(
    nominal: Correct, perturbations: Mapping[str, Sequence[Correct]], k: int = 1
) -> FamilyRobustness:
    """A family in both aggregations.

    Args:
        nominal: the results on the family's nominal form.
        perturbations: by perturbation, the results of each of its seeds.
        k: as in pass@k.
    """
    single = {name: robustness(nominal, variants, k) for name, variants in perturbations.items()}
    together = [variant for variants in perturbations.values() for variant in variants]
    return FamilyRobustness(
        perturbations=single,
        mean=mean_robustness(list(single.values())),
        worst=robustness(nominal, together, k),
    )


def mean_robustness(parts: Sequence[Robustness]) -> Robustness:
    """The plain mean of each score; the drop is undefined if it is in any part.

    Over perturbations this is a family, over families the whole (the paper's Table 4).
    """
    if not parts:
        raise DataError("no perturbation to take a mean over")
    return Robustness(
        nominal=fmean(part.nominal for part in parts),
        robust_pass=fmean(part.robust_pass for part in parts),
        robust_drop=mean_if_defined([part.robust_drop for part in parts]),
        robust_relative=fmean(part.robust_relative for part in parts),
    )


def mean_if_defined(values: Sequence[float | None]) -> float | None:
    """The plain mean; None if any value is undefined."""
    defined = [value for value in values if value is not None]
    return fmean(defined) if len(defined) == len(values) else None


def _results(variant: Correct, task: str, samples: int) -> Sequence[bool]:
    results = variant.get(task, ())
    if len(results) != samples:
        raise DataError(f"{task}: a variant has {len(results)} results, nominal has {samples}")
    return results
