"""One generative evaluation from prompts to verdicts, and what comes out of it.

The way of all benchmarks: conditions (forms of the prompts) → completions → verdicts, in a folder
that a killed run continues. Programs are executed only when that is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxylm.evaluation.answers.folder import JudgedSample, Sample, opened_folder
from proxylm.evaluation.answers.judging import judge_base_tests, judge_samples
from proxylm.evaluation.answers.options import SamplingPlan
from proxylm.evaluation.answers.samples import Conditions, make_samples, wanted_samples
from proxylm.evaluation.answers.writers import ProgramWriter
from proxylm.evaluation.pass_at_k import pass_at_k
from proxylm.progress import TellCount, untold
from proxylm.sandbox import Status
from proxylm.sandbox.detection import usable_tier
from proxylm.scoring.read_as import PromptEnd

DEFAULT_KS = (1, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """How programs fared in their tests.

    Attributes:
        samples: completions per problem; 0 where nothing was generated.
        pass_at: pass@k by k, by all tests; None where nothing was executed.
        statuses: how many samples passed, failed, timed out, crashed or were invalid.
        base_pass_at, base_statuses: the same by the benchmark's base tests alone (of the forms of
            EvalPlus); None where there are none, or nothing was executed.
    """

    samples: int = 0
    pass_at: dict[str, float] | None = None
    statuses: dict[str, int] | None = None
    base_pass_at: dict[str, float] | None = None
    base_statuses: dict[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """All completions of an evaluation, and their verdicts where programs were executed.

    Attributes:
        samples: in the order of conditions, problems and samples.
        verdicts: of the same samples; None where nothing was executed.
        base_verdicts: by the base tests alone; None where there are none.
        ks: the k of pass@k that the number of samples allows.
    """

    samples: list[Sample]
    verdicts: list[JudgedSample] | None
    base_verdicts: list[JudgedSample] | None
    ks: tuple[int, ...]

    def correct(self, condition: str) -> dict[str, list[bool]]:
        """By problem of one condition, whether each sample passed its test.

        Only where programs were executed.
        """
        assert self.verdicts is not None, "nothing was executed"
        return _correct(self.verdicts, condition)

    def passes(self, condition: str) -> Passes:
        """How the samples fared by all tests, and by the base tests."""
        return Passes(
            samples=len({sample.key.sample for sample in self.samples}),
            pass_at=self._pass_at(self.verdicts, condition),
            statuses=_statuses(self.verdicts, condition),
            base_pass_at=self._pass_at(self.base_verdicts, condition),
            base_statuses=_statuses(self.base_verdicts, condition),
        )

    def _pass_at(
        self, verdicts: list[JudgedSample] | None, condition: str
    ) -> dict[str, float] | None:
        if verdicts is None:
            return None
        correct = list(_correct(verdicts, condition).values())
        return {str(k): pass_at_k(correct, k) for k in self.ks}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """How a benchmark is answered, as its evaluation sees it: everything but the prompts.

    Attributes:
        plan: how completions are drawn.
        folder: where samples and verdicts are kept and found again.
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
    progress: TellCount = untold

    def run(self, writer: ProgramWriter, conditions: Conditions) -> Answers:
        """Complete every prompt and, if asked for, judge every completion.

        Args:
            writer: the model, read in one of its forms.
            conditions: forms of the prompts by name.

        Raises:
            SandboxError: execution is asked for and no isolation tier works; nothing was generated.
            UsageError: the folder holds samples of another model or other settings.
        """
        if self.execute:
            usable_tier()  # or an error before anything is generated
        wanted = wanted_samples(conditions, self.plan.samples)
        with opened_folder(self.folder, sample_settings(writer, self.plan)) as folder:
            samples = make_samples(writer, wanted, self.plan, folder, self.progress)
            verdicts = base = None
            if self.execute:
                judging = (folder, self.progress)
                verdicts = judge_samples(wanted, samples, *judging, workers=self.workers)
                base = judge_base_tests(wanted, samples, verdicts, *judging, workers=self.workers)
        ks = tuple(k for k in self.ks if k <= self.plan.samples)
        return Answers(samples=samples, verdicts=verdicts, base_verdicts=base, ks=ks)


def _correct(verdicts: Sequence[JudgedSample], condition: str) -> dict[str, list[bool]]:
    results: dict[str, list[bool]] = {}
    for judged in verdicts:
        if judged.key.condition == condition:
            passed = judged.status == Status.PASSED.value
            results.setdefault(judged.key.task_id, []).append(passed)
    return results


def _statuses(verdicts: Sequence[JudgedSample] | None, condition: str) -> dict[str, int] | None:
    if verdicts is None:
        return None
    return dict(Counter(one.status for one in verdicts if one.key.condition == condition))


def sample_settings(writer: ProgramWriter, plan: SamplingPlan) -> dict[str, Any]:
    """What every sample depends on beside its problem: plain values, kept with the samples.

    Device and type of numbers are among them, because rounding decides between near choices; what
    has no effect, such as a greedy decoder's seed or a prompt's end that is kept, is not.
    """
    weight = writer.model.module.lm_head.weight
    gives_up = writer.prompt_end is not PromptEnd.KEEP
    drawing = {"temperature", "top_p", "seed"} if plan.temperature else {"temperature"}
    return {
        "model": writer.identity,
        "device": weight.device.type,
        "dtype": str(weight.dtype).removeprefix("torch."),
        "read_as": writer.read_as,
        **({"prompt_end": writer.prompt_end.value} if gives_up else {}),
        **plan.model_dump(mode="json", include=drawing),
        "budget": writer.budget_of(plan),
    }
