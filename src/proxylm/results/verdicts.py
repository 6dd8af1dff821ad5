"""Verdicts from numbers by stated rules: two standard errors, over pairs of observations.

A difference is told where its mean is further from zero than two standard errors of it, over at
least three pairs. A slope is one of a straight line by least squares, told by the same measure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from proxylm.results.experiment import Difference, Falls, IsHigher, IsLower, Rule
from proxylm.results.points import Label
from proxylm.results.record import Observation

STANDARD_ERRORS = 2.0
LEAST_PAIRS = 3


class Verdict(StrEnum):
    """What came out."""

    AGREES = "agrees"
    DOES_NOT = "does not at this size"
    OPEN = "cannot be told"


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Paired differences.

    Attributes:
        label: what of: the value of the rule's ``per``.
        differences: one for each pair.
    """

    label: Label
    differences: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the differences."""
        return statistics.fmean(self.differences)

    @property
    def standard_error(self) -> float | None:
        """Of the mean; None of one pair."""
        count = len(self.differences)
        return statistics.stdev(self.differences) / math.sqrt(count) if count > 1 else None

    def sign(self) -> int:
        """That of the mean where it is further from zero than two standard errors, else 0."""
        error = self.standard_error
        return 0 if error is None else _sign(self.mean, error)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A straight line through points, by least squares.

    Attributes:
        count: of points.
        intercept, slope: of the line.
        covariance: of both, ``[2, 2]``.
    """

    count: int
    intercept: float
    slope: float
    covariance: tuple[tuple[float, float], tuple[float, float]]

    @property
    def slope_error(self) -> float:
        """The slope's standard error."""
        return math.sqrt(self.covariance[1][1])

    def sign(self) -> int:
        """That of the slope where it is told, else 0."""
        return _sign(self.slope, self.slope_error)

    def zero(self) -> tuple[float, float, float] | None:
        """Where the line is zero, and the interval where it may be; None where no end is told.

        The interval holds every ``x`` at which the line is within two standard errors of zero
        (Fieller's, with 2 for the quantile).
        """
        if self.sign() == 0:
            return None
        (aa, ab), (_, bb) = self.covariance
        factor = STANDARD_ERRORS**2
        square = self.slope**2 - factor * bb
        linear = self.intercept * self.slope - factor * ab
        constant = self.intercept**2 - factor * aa
        root = math.sqrt(max(0.0, linear**2 - square * constant))
        ends = sorted(((-linear - root) / square, (-linear + root) / square))
        return -self.intercept / self.slope, ends[0], ends[1]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a rule found.

    Attributes:
        verdict: of all of it.
        pairs: differences, by the rule's ``per``.
        line: of a rule about a trend; None where there are too few points.
    """

    verdict: Verdict
    pairs: tuple[Pairs, ...]
    line: Line | None = None


def finding(rule: Rule, observations: Sequence[Observation]) -> Finding:
    """What a rule finds in what was observed.

    Of several groups (``per``), all that have enough pairs have to agree; one that contradicts is
    enough for the contrary.
    """
    if isinstance(rule, Falls):
        return _trend(rule, observations)
    per = rule.per
    groups: dict[Label, list[float]] = {}
    for one, other in paired(rule, observations):
        label = "" if per is None else one.labels.get(per, "")
        groups.setdefault(label, []).append(_difference(rule, one, other))
    pairs = tuple(Pairs(label=label, differences=tuple(values)) for label, values in groups.items())
    signs = [one.sign() for one in pairs if len(one.differences) >= LEAST_PAIRS]
    return Finding(verdict=_verdict(signs, _wanted(rule)), pairs=pairs)


def paired(
    rule: Difference, observations: Sequence[Observation]
) -> Iterator[tuple[Observation, Observation]]:
    """Observations with their counterparts, where both have the number."""
    free = {*rule.of, *rule.minus}

    def rest(one: Observation) -> tuple[tuple[str, Label], ...]:
        return tuple((name, value) for name, value in one.labels.items() if name not in free)

    others = {
        rest(one): one
        for one in observations
        if one.has({**rule.where, **rule.minus}) and _other_number(rule) in one.numbers
    }
    for one in observations:
        is_one = one.has({**rule.where, **rule.of}) and rule.number in one.numbers
        if is_one and (other := others.get(rest(one))):
            yield one, other


def straight_line(x: Sequence[float], y: Sequence[float]) -> Line | None:
    """The line through points by least squares; None of less than three, or at one place alone."""
    if len(x) < LEAST_PAIRS or len(set(x)) < 2:
        return None
    design = np.stack([np.ones(len(x)), np.asarray(x)], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ design.T @ np.asarray(y)
    residuals = np.asarray(y) - design @ found
    (aa, ab), (_, bb) = (inverse * (residuals @ residuals) / (len(x) - 2)).tolist()
    return Line(
        count=len(x),
        intercept=float(found[0]),
        slope=float(found[1]),
        covariance=((aa, ab), (ab, bb)),
    )


def _trend(rule: Falls, observations: Sequence[Observation]) -> Finding:
    found = [
        (place, _difference(rule, one, other))
        for one, other in paired(rule, observations)
        if (place := one.place(rule.over)) > 0
    ]
    line = straight_line([math.log10(place) for place, _ in found], [value for _, value in found])
    by_place: dict[float, list[float]] = {}
    for place, value in found:
        by_place.setdefault(place, []).append(value)
    pairs = tuple(
        Pairs(label=place, differences=tuple(values)) for place, values in sorted(by_place.items())
    )
    verdict = _verdict([] if line is None else [line.sign()], -1)
    return Finding(verdict=verdict, pairs=pairs, line=line)


def _difference(rule: Difference, one: Observation, other: Observation) -> float:
    return one.numbers[rule.number] - rule.times * other.numbers[_other_number(rule)]


def _other_number(rule: Difference) -> str:
    return rule.minus_number or rule.number


def _wanted(rule: IsLower | IsHigher) -> int:
    return -1 if isinstance(rule, IsLower) else 1


def _verdict(signs: Sequence[int], wanted: int) -> Verdict:
    if -wanted in signs:
        return Verdict.DOES_NOT
    return Verdict.AGREES if signs and set(signs) == {wanted} else Verdict.OPEN


def _sign(value: float, error: float) -> int:
    if abs(value) <= STANDARD_ERRORS * error:
        return 0
    return 1 if value > 0 else -1
