"""Verdicts of completions, judged in the sandbox or known from before."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import astuple, replace

from proxylm import __version__
from proxylm.evaluation.answers.folder import EvaluationFolder, JudgedSample, Sample
from proxylm.evaluation.answers.samples import Wanted
from proxylm.fingerprint import fingerprint_of
from proxylm.progress import TellCount
from proxylm.sandbox import Status, Submission, check_many
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


def judge_base_tests(
    wanted: Sequence[Wanted],
    samples: Sequence[Sample],
    verdicts: Sequence[JudgedSample],
    folder: EvaluationFolder,
    progress: TellCount,
    *,
    workers: int | None = None,
) -> list[JudgedSample] | None:
    """As ``judge_samples`` by the base tests alone; None if a problem has none.

    What passes the whole test passes this part of it, and is not run again. Verdicts are kept under
    the condition ``NAME/base``.

    Args:
        wanted, samples, folder, progress, workers: as there.
        verdicts: by the whole tests.

    Raises:
        SandboxError: no isolation tier works on this machine.
    """
    if any(one.problem.base_test is None for one in wanted):
        return None
    keys = [replace(one.key, condition=f"{one.key.condition}/base") for one in wanted]
    failed = [n for n, judged in enumerate(verdicts) if judged.status != Status.PASSED.value]
    problems = [replace(wanted[n].problem, test=wanted[n].problem.base_test or "") for n in failed]
    judged = judge_samples(
        [replace(wanted[n], problem=one) for n, one in zip(failed, problems, strict=True)],
        [replace(samples[n], key=keys[n]) for n in failed],
        folder,
        progress,
        workers=workers,
    )
    again = dict(zip(failed, judged, strict=True))
    return [
        replace(again.get(n, verdict), key=samples[n].key) for n, verdict in enumerate(verdicts)
    ]


def _fingerprint(submission: Submission, tier: str) -> str:
    """Of all that a verdict depends on: the submission whole, its limits, and who judges it.

    Rules that a test imports (``plus_comparison``) are named by this package's version.
    """
    judge = (tier, platform.python_version(), __version__)
    return fingerprint_of(*astuple(submission), *judge)
