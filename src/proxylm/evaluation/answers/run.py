"""One generative evaluation from prompts to verdicts, and what comes out of it.

The way of all benchmarks: conditions (forms of the prompts) → completions → verdicts, in a folder
that a killed run continues. Programs are executed only when that is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxylm.evaluation.answers.folder import JudgedSample, Sample, opened_folder
from proxylm.evaluation.answers.judging import judge_samples, require_sandbox
from proxylm.evaluation.answers.options import SamplingPlan
from proxylm.evaluation.answers.samples import Conditions, make_samples, wanted_samples
from proxylm.evaluation.answers.writers import ProgramWriter
from proxylm.sandbox import Status


class Progress:
    """Told how the work goes on; this one keeps silent."""

    def generated(self, done: int, total: int) -> None:
        """So many completions are there."""

    def judged(self, done: int, total: int) -> None:
        """So many programs have been run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResults:
    """All completions of an evaluation, and their verdicts where programs were executed.

    Attributes:
        samples: in the order of conditions, problems and samples.
        verdicts: of the same samples; None where nothing was executed.
    """

    samples: list[Sample]
    verdicts: list[JudgedSample] | None

    def correct(self, condition: str) -> dict[str, list[bool]]:
        """By problem of one condition, whether each sample passed its test.

        Only where programs were executed.
        """
        assert self.verdicts is not None, "nothing was executed"
        results: dict[str, list[bool]] = {}
        for judged in self.verdicts:
            if judged.key.condition == condition:
                passed = judged.status == Status.PASSED.value
                results.setdefault(judged.key.task_id, []).append(passed)
        return results

    def statuses(self) -> Mapping[str, int]:
        """How many samples fared how, over all conditions."""
        return Counter(judged.status for judged in self.verdicts or ())


def sample_settings(writer: ProgramWriter, plan: SamplingPlan) -> dict[str, Any]:
    """What every sample depends on beside its problem: plain values, kept with the samples.

    Device and type of numbers are among them, because rounding decides between near choices; what
    has no effect, such as a greedy decoder's seed, is not.
    """
    weight = writer.model.module.lm_head.weight
    drawing = {"temperature", "top_p", "seed"} if plan.temperature else {"temperature"}
    return {
        "model": writer.identity,
        "device": weight.device.type,
        "dtype": str(weight.dtype).removeprefix("torch."),
        "read_as": writer.read_as,
        **plan.model_dump(mode="json", include=drawing),
        "budget": writer.budget_of(plan),
    }


def run_conditions(
    writer: ProgramWriter,
    conditions: Conditions,
    plan: SamplingPlan,
    folder: Path,
    *,
    execute: bool,
    workers: int | None = None,
    progress: Progress | None = None,
) -> GenerationResults:
    """Complete every prompt and, if asked for, judge every completion.

    Args:
        writer: the model, read in one of its forms.
        conditions: forms of the prompts by name.
        plan: how completions are drawn.
        folder: where samples and verdicts are kept and found again.
        execute: whether the programs are run, in the sandbox.
        workers: programs judged at the same time; None takes the number of cores.
        progress: told how the work goes on.

    Raises:
        SandboxError: execution is asked for and no isolation tier works; nothing was generated.
        UsageError: the folder holds samples of another model or other settings.
    """
    if execute:
        require_sandbox()
    told = progress or Progress()
    settings = sample_settings(writer, plan)
    wanted = wanted_samples(conditions, plan.samples)
    with opened_folder(folder, settings) as opened:
        samples = make_samples(writer, wanted, plan, opened, told.generated)
        verdicts = None
        if execute:
            verdicts = judge_samples(wanted, samples, opened, told.judged, workers=workers)
    return GenerationResults(samples=samples, verdicts=verdicts)
