"""Learning rate over a run: a warm-up, then a cosine or a constant (method, section 6).

A rate is a pure function of the step, so that a resumed run needs no scheduler state.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat

from proxylm.config import Config
from proxylm.errors import UsageError


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
        done = (step + 1 - self.warmup_steps) / max(1, total_steps - self.warmup_steps)
        return self.peak * self.fraction_of_peak(min(done, 1.0))

    @abstractmethod
    def fraction_of_peak(self, done: float) -> float:
        """Rate ÷ peak once the share ``done`` in (0, 1] of the steps after warm-up is made."""


class CosineRate(WarmedUpRate):
    """A cosine from the peak to ``final_fraction`` of it, reached at the last step."""

    kind: Literal["cosine"] = "cosine"
    final_fraction: Annotated[float, Field(ge=0, le=1)] = 0.1

    def fraction_of_peak(self, done: float) -> float:
        """``f + (1 − f)·(1 + cos πd)/2``."""
        cosine = (1 + math.cos(math.pi * done)) / 2
        return self.final_fraction + (1 - self.final_fraction) * cosine


class ConstantRate(WarmedUpRate):
    """The peak, kept to the end (the full-corpus runs)."""

    kind: Literal["constant"] = "constant"
    warmup_steps: NonNegativeInt = 2000

    def fraction_of_peak(self, done: float) -> float:
        """Always 1."""
        return 1.0


LearningRate = Annotated[CosineRate | ConstantRate, Field(discriminator="kind")]
