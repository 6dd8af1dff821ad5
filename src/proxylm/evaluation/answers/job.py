"""A generative evaluation as its benchmarks see it: who writes, how, where to, and what is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from proxylm.evaluation.answers.options import SamplingPlan
from proxylm.evaluation.answers.run import GenerationResults, Progress, run_conditions
from proxylm.evaluation.answers.samples import Conditions
from proxylm.evaluation.answers.writers import ProgramWriter

DEFAULT_KS = (1, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationJob:
    """Everything but the prompts.

    Attributes:
        plan: how completions are drawn.
        folder: where samples and verdicts are kept.
        execute: whether the programs are run, in the sandbox.
        ks: the k of pass@k; those above the number of samples are left out.
        workers: programs judged at the same time; None takes the number of cores.
        progress: told how the work goes on.
    """

    plan: SamplingPlan
    folder: Path
    execute: bool
    ks: tuple[int, ...] = DEFAULT_KS
    workers: int | None = None
    progress: Progress = field(default_factory=Progress)

    @property
    def usable_ks(self) -> list[int]:
        """The k that the number of samples allows."""
        return [k for k in self.ks if k <= self.plan.samples]

    def run(self, writer: ProgramWriter, conditions: Conditions) -> GenerationResults:
        """Complete and judge; see ``run_conditions``."""
        return run_conditions(
            writer,
            conditions,
            self.plan,
            self.folder,
            execute=self.execute,
            workers=self.workers,
            progress=self.progress,
        )
