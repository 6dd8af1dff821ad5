"""Verdicts of completions, judged in the sandbox or known from before."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import astuple, replace

from proxylm import __version__
from proxylm.evaluation.answers.folder import EvaluationFolder, JudgedSample, Sample
from proxylm.evaluation.answers.samples import TellCount, Wanted
from proxylm.fingerprint import fingerprint_of
from proxylm.sandbox import Submission, check_many
from proxylm.sandbox.detection import usable_tier


def judge_samples(
    wanted: Sequence[Wanted],
    samples: Sequence[Sample],
    folder: EvaluationFolder,
    progress: TellCount,
    *,
    workers: int | None = None,
) -> list[JudgedSample]:
    """A verdict for every sample, in order; new ones are written as they come.

    Equal programs with equal tests are run once.

    Args:
        wanted: what the samples answer, in the same order.
        samples: the completions.
        folder: where verdicts are kept.
        progress: told after every program that was run.
        workers: programs judged at the same time; None takes the number of cores.

    Raises:
        SandboxError: no isolation tier works on this machine.
    """
    tier = usable_tier()
    submissions = [
        one.problem.submission(sample.completion)
        for one, sample in zip(wanted, samples, strict=True)
    ]
    names = [_fingerprint(submission, tier) for submission in submissions]
    known = {judged.fingerprint: judged for judged in folder.verdicts().values()}
    new: dict[str, tuple[Submission, Sample]] = {}
    for name, submission, sample in zip(names, submissions, samples, strict=True):
        if name not in known:
            new.setdefault(name, (submission, sample))
    verdicts = check_many((each for each, _ in new.values()), workers=workers, tier=tier)
    for count, ((name, (_, sample)), verdict) in enumerate(
        zip(new.items(), verdicts, strict=True), start=1
    ):
        known[name] = JudgedSample(
            key=sample.key, fingerprint=name, status=verdict.status.value, reason=verdict.reason
        )
        folder.add_verdicts([known[name]])
        progress("programs run", count, len(new))
    judged = [
        replace(known[name], key=sample.key) for name, sample in zip(names, samples, strict=True)
    ]
    recorded = folder.verdicts()
    folder.add_verdicts(one for one in judged if recorded.get(one.key) != one)
    return judged


def _fingerprint(submission: Submission, tier: str) -> str:
    """Of all that a verdict depends on: the submission whole, its limits, and who judges it.

    Rules that a test imports (``plus_comparison``) are named by this package's version.
    """
    judge = (tier, platform.python_version(), __version__)
    return fingerprint_of(*astuple(submission), *judge)
