"""Learning rate over a run: a warm-up, then a cosine, a constant, or both (method, section 6).

A rate is a pure function of the step, so that a resumed run needs no scheduler state.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat

from proxylm.config import Config
from proxylm.errors import UsageError
from proxylm.run_part import FirstPart, Fraction


class WarmedUpRate(Config):
    """Linear warm-up to ``peak`` over the first ``warmup_steps`` updates."""

    peak: PositiveFloat = 9e-4
    warmup_steps: NonNegativeInt = 500

    def require_fits(self, total_steps: int) -> None:
        """Refuse a warm-up that a run would not live to see the end of.

        Raises:
            UsageError: naming both lengths.
        """
        if self.warmup_steps > total_steps:
            raise UsageError(
                f"learning_rate.warmup_steps {self.warmup_steps} exceed the run's {total_steps} "
                "steps"
            )

    def rate(self, step: int, total_steps: int) -> float:
        """Learning rate of update ``step`` (0-based) in a run of ``total_steps`` updates."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        peak_until = self.peak_until(total_steps)
        if step < peak_until:
            return self.peak
        done = (step + 1 - peak_until) / max(1, total_steps - peak_until)
        return self.peak * self.fraction_of_peak(min(done, 1.0))

    def peak_until(self, total_steps: int) -> int:
        """Step from which the rate leaves the peak: the end of the warm-up."""
        return self.warmup_steps

    @abstractmethod
    def fraction_of_peak(self, done: float) -> float:
        """Rate ÷ peak once the share ``done`` in (0, 1] of the steps from there on is made."""


class CosineRate(WarmedUpRate):
    """A cosine from the peak to ``final_fraction`` of it, reached at the last step."""

    kind: Literal["cosine"] = "cosine"
    final_fraction: Fraction = 0.1

    def fraction_of_peak(self, done: float) -> float:
        """``f + (1 − f)·(1 + cos πd)/2``."""
        return _cosine(self.final_fraction, done)


class ConstantRate(WarmedUpRate):
    """The peak, kept to the end (the full-corpus runs)."""

    kind: Literal["constant"] = "constant"
    warmup_steps: NonNegativeInt = 2000

    def fraction_of_peak(self, done: float) -> float:
        """Always 1."""
        return 1.0


class ConstantThenCosineRate(FirstPart, WarmedUpRate):
    """The peak through the first part of the run, then a cosine to ``final_fraction`` of it.

    The last stage of a run with phases can so have a decay of its own (``docs/training.md``).
    """

    kind: Literal["constant_then_cosine"] = "constant_then_cosine"
    fraction: Fraction | None = 0.8
    final_fraction: Fraction = 0.1

    def require_fits(self, total_steps: int) -> None:
        """Refuse a warm-up or a constant part that a run would not live to see the end of.

        Raises:
            UsageError: naming both lengths.
        """
        super().require_fits(total_steps)
        if self.steps_of(total_steps) > total_steps:
            raise UsageError(
                f"learning_rate.steps {self.steps} exceed the run's {total_steps} steps"
            )

    def peak_until(self, total_steps: int) -> int:
        """Step at which the cosine begins."""
        return max(self.warmup_steps, self.steps_of(total_steps))

    def fraction_of_peak(self, done: float) -> float:
        """``f + (1 − f)·(1 + cos πd)/2``."""
        return _cosine(self.final_fraction, done)


def _cosine(final: float, done: float) -> float:
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2


LearningRate = Annotated[
    CosineRate | ConstantRate | ConstantThenCosineRate, Field(discriminator="kind")
]
