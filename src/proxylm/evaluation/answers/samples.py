"""Making the completions that are not there yet, in batches that do not depend on what is.

A *condition* is one form of a benchmark's prompts (plain, a suffix, a perturbation). The batches
are cut from the whole list of (condition, problem, sample) and never depend on where a run was
stopped: a batch of which anything is missing is made again as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import xxhash

from proxylm.evaluation.answers.folder import EvaluationFolder, Sample, SampleKey
from proxylm.evaluation.answers.options import SamplingPlan
from proxylm.evaluation.answers.writers import Draws, ProgramWriter
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem
from proxylm.fingerprint import fingerprint_of
from proxylm.progress import TellCount

BATCH_ROWS = 64
"""Completions asked for together, and the most that a kill loses."""

Conditions = Mapping[str, Benchmark]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One completion to make."""

    key: SampleKey
    problem: Problem
    stop: tuple[bytes, ...]

    @property
    def prompt_fingerprint(self) -> str:
        """Names what is read and where it ends, so that no sample of another is taken for this.

        The solution is part of it: translation shows it, compressed.
        """
        return fingerprint_of(self.problem.prompt, self.problem.solution, *self.stop)


def wanted_samples(conditions: Conditions, samples: int) -> list[Wanted]:
    """Every completion of an evaluation, in a fixed order."""
    return [
        Wanted(
            key=SampleKey(condition=condition, task_id=problem.task_id, sample=sample),
            problem=problem,
            stop=benchmark.stop,
        )
        for condition, benchmark in conditions.items()
        for problem in benchmark.problems
        for sample in range(samples)
    ]


def make_samples(
    writer: ProgramWriter,
    wanted: Sequence[Wanted],
    plan: SamplingPlan,
    folder: EvaluationFolder,
    progress: TellCount,
) -> list[Sample]:
    """The completions, in order: those that the folder has, and the others made and written."""
    known = folder.samples()
    made: list[Sample] = []
    for start in range(0, len(wanted), BATCH_ROWS):
        batch = wanted[start : start + BATCH_ROWS]
        found = [known.get(one.key) for one in batch]
        ready = [
            sample
            for sample, one in zip(found, batch, strict=True)
            if sample is not None and sample.prompt == one.prompt_fingerprint
        ]
        if len(ready) < len(batch):
            ready = _complete(writer, batch, plan)
            folder.add_samples(ready)
        made += ready
        progress("completions", len(made), len(wanted))
    return made


def _complete(writer: ProgramWriter, batch: Sequence[Wanted], plan: SamplingPlan) -> list[Sample]:
    assert all(one.stop == batch[0].stop for one in batch), "conditions share their stop rules"
    samples = [sample_number(one.key) for one in batch]
    draws = Draws(plan=plan, stop=batch[0].stop, samples=samples)
    completions = writer.answer([one.problem for one in batch], draws)
    return [
        Sample(
            key=one.key,
            prompt=one.prompt_fingerprint,
            completion=completion.data,
            finish=completion.finish,
        )
        for one, completion in zip(batch, completions, strict=True)
    ]


def sample_number(key: SampleKey) -> int:
    """The number that a sample's randomness depends on: a 63-bit hash of what it is."""
    identity = f"{key.condition}\0{key.task_id}\0{key.sample}"
    return xxhash.xxh3_64_intdigest(identity.encode()) >> 1
