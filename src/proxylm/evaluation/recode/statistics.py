"""ReCode's scores: robust pass, robust drop and robust relative, per perturbation and family.

A *variant* is a problem's prompt under one perturbation and seed. Sample ``j`` of a problem is the
``j``-th generation for its nominal prompt and for each variant. docs/evaluation.md, "Robustness:
ReCode", has the formulas, over the counts ``rc``, ``lost`` and ``won`` of a problem's samples, and
the two ways in which a family is taken together; the names are the same here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any, Generic, TypeVar

from proxylm.errors import DataError
from proxylm.evaluation.pass_at_k import hit_probability, mean, pass_at_k

Correct = Mapping[str, Sequence[bool]]
"""By problem, whether each sample is right."""

Variant = TypeVar("Variant")
Part = TypeVar("Part")


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
class Aggregated(Generic[Part]):
    """A family: each of its perturbations, their mean, and the worst case over all of them."""

    perturbations: dict[str, Part]
    mean: Part
    worst: Part


def aggregated(
    perturbations: Mapping[str, Sequence[Variant]], score: Callable[[Sequence[Variant]], Part]
) -> Aggregated[Part]:
    """A family in both aggregations.

    Args:
        perturbations: by perturbation, what there is of each of its seeds.
        score: the scores of one set of variants.

    Raises:
        DataError: there is no perturbation.
    """
    single = {name: score(variants) for name, variants in perturbations.items()}
    together = [variant for variants in perturbations.values() for variant in variants]
    return Aggregated(
        perturbations=single, mean=mean_of(list(single.values())), worst=score(together)
    )


def mean_of(parts: Sequence[Part]) -> Part:
    """The plain mean of each score; one that is undefined in any part is undefined.

    Over perturbations this is a family, over families the whole (the paper's Table 4).

    Raises:
        DataError: there is no part.
    """
    if not parts:
        raise DataError("no perturbation to take a mean over")
    first: Any = parts[0]
    columns = {one.name: [getattr(part, one.name) for part in parts] for one in fields(first)}
    means = {name: None if None in column else fmean(column) for name, column in columns.items()}
    return type(first)(**means)


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


def _results(variant: Correct, task: str, samples: int) -> Sequence[bool]:
    results = variant.get(task, ())
    if len(results) != samples:
        raise DataError(f"{task}: a variant has {len(results)} results, nominal has {samples}")
    return results
