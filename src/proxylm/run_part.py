"""The first part of a run: a number of steps, or a fraction of however many there are."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, NonNegativeInt, model_validator

from proxylm.config import Config, added_field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def steps_in(fraction: float, total_steps: int) -> int:
    """Number of steps in the first ``fraction`` of a run.

    >>> steps_in(0.2, 50_000)
    10000
    """
    return round(fraction * total_steps)


class FirstPart(Config):
    """The first part of a run, of a fixed number of steps or a fixed share of them.

    Attributes:
        fraction: share of the run's steps; None where ``steps`` is given.
        steps: their number, however long the run is; a shorter run is the beginning of a longer.
    """

    fraction: Fraction | None
    steps: NonNegativeInt | None = added_field(None)

    @model_validator(mode="before")
    @classmethod
    def _steps_replace_the_fraction(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("steps") is not None:
            return {"fraction": None, **values}
        return values

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.fraction is None) == (self.steps is None):
            raise ValueError("give the length as either fraction or steps")
        return self

    def steps_of(self, total_steps: int) -> int:
        """Steps in it, in a run of ``total_steps``; more than there are where the run is short."""
        if self.fraction is None:
            assert self.steps is not None, "validated"
            return self.steps
        return steps_in(self.fraction, total_steps)
