"""How completions are drawn, and how long they may get."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from proxylm.config import Config


class Budget(Config):
    """Most output of one completion (docs/evaluation.md, "Generating"), as it is read."""

    max_symbols: int = Field(default=512, ge=1)
    max_bytes: int = Field(default=2048, ge=1)


class SamplingPlan(Config):
    """How many completions each prompt gets, and how they are drawn.

    Attributes:
        samples: ``n``, completions per prompt; one where decoding is greedy.
        temperature: 0 is greedy.
        top_p: only the most probable symbols whose total reaches it are drawn.
        seed: with the prompt's identity and the sample's number, all that the draws depend on.
        budget: most output of each.
    """

    samples: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)
    budget: Budget = Budget()

    @model_validator(mode="after")
    def _greedy_samples_are_all_the_same(self) -> Self:
        if self.temperature == 0 and self.samples > 1:
            raise ValueError("several samples at temperature 0 are all the same; raise it")
        return self
