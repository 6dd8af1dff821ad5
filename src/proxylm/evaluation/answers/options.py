"""What an evaluation of generated programs is asked to do, and how completions are drawn.

Fields that commands make options of: what stands here of each is its help.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, PositiveInt, model_validator

from proxylm.config import Config
from proxylm.scoring.read_as import ReadAs


class Budget(Config):
    """Most output of one completion (docs/evaluation.md, "Generating"), as it is read.

    Attributes:
        max_symbols: most symbols of one that is read as tokens.
        max_bytes: most bytes of a completion.
    """

    max_symbols: int = Field(default=512, ge=1)
    max_bytes: int = Field(default=2048, ge=1)


class SamplingPlan(Config):
    """How many completions each prompt gets, and how they are drawn.

    Attributes:
        samples: completions per prompt; one where decoding is greedy.
        temperature: 0 is greedy.
        top_p: draw from the most probable this much.
        seed: the same seed gives the same completions.
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


class Sampling(Config):
    """Completions drawn beside the greedy one, for pass@k with k above 1 (paper, 3.1).

    Attributes:
        samples: completions drawn per prompt beside the greedy one, for pass@10.
        temperature: of the drawn ones.
        top_p: they are drawn from the most probable this much.
        seed: the same seed gives the same ones.
    """

    samples: int = Field(default=0, ge=0)
    temperature: float = Field(default=0.2, gt=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)

    @model_validator(mode="after")
    def _drawing_is_of_something(self) -> Self:
        fields = type(self).model_fields.items()
        idle = [name for name, field in fields if getattr(self, name) != field.default]
        if idle and not self.samples:
            name = idle[0].replace("_", "-")
            raise ValueError(f"--{name} is of what --samples draws beside the greedy completion")
        return self


class EvaluationSettings(Config):
    """What an evaluation of generated programs is asked to do.

    Attributes:
        plus: the EvalPlus form, with its tests.
        data: the benchmark's file. (default: where its package has it)
        limit: only the first so many problems.
        problems: only this problem; may be given repeatedly.
        reading: how the model is read.
        execute: run the generated programs, in the sandbox, for pass@k.
        generate: without: likelihood forms alone, nothing is generated.
        budget: most output of each completion.
        sampling: the completions beside the greedy one.
        ks: the k of pass@k, repeatedly; pass@1 is that of the greedy completions, and named so
            where it is of the samples. (default: 1 and 10, as far as there are samples)
        workers: programs run at the same time. (default: the cores)
        out: folder of everything written; goes on there. (default: in RUN)
    """

    plus: bool = False
    data: Path | None = None
    limit: PositiveInt | None = None
    problems: tuple[str, ...] = ()
    reading: ReadAs = ReadAs()
    execute: bool = False
    generate: bool = True
    budget: Budget = Budget()
    sampling: Sampling = Sampling()
    ks: tuple[int, ...] = ()
    workers: PositiveInt | None = None
    out: Path | None = None

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        for k in self.ks:
            most = max(1, self.sampling.samples)
            if not 1 <= k <= most:
                raise ValueError(f"--k {k}: must be between 1 and --samples {most}")
        if self.execute and not self.generate:
            raise ValueError("--execute needs completions: leave --no-generate out")
        return self

    @property
    def greedy(self) -> SamplingPlan:
        """One completion per prompt, the most probable: what pass@1 is of."""
        return SamplingPlan(budget=self.budget)

    @property
    def sampled(self) -> SamplingPlan | None:
        """The samples beside it; None where none are asked for."""
        if not self.sampling.samples:
            return None
        return SamplingPlan(**self.sampling.model_dump(), budget=self.budget)
