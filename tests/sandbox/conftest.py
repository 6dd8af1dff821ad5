"""Every test of the sandbox runs in each tier that works here; the others say what is missing."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from proxylm.sandbox import Submission, Verdict
from proxylm.sandbox.detection import tier_state
from proxylm.sandbox.judge_process import JudgeProcess
from proxylm.sandbox.tiers import TIERS


@pytest.fixture(scope="session")
def judges():
    """One judging process per tier for tests with many single programs."""
    with ExitStack() as stack:
        started: dict[str, JudgeProcess] = {}

        def judge(tier: str, submission: Submission) -> Verdict:
            if tier not in started:
                started[tier] = stack.enter_context(JudgeProcess(tier))
            return started[tier].judge(submission)

        yield judge


@pytest.fixture
def judged(judges, tier):
    """The verdict on a program and its test, in the tier at hand."""

    def verdict(program: str, test: str, entry_point: str = "f") -> Verdict:
        return judges(
            tier,
            Submission(program=program, test=test, entry_point=entry_point, timeout_s=60.0),
        )

    return verdict


@pytest.fixture(params=TIERS)
def tier(request) -> str:
    state = tier_state(request.param)
    if state.lacking is not None:
        pytest.skip(f"sandbox tier {state.name}: {state.lacking}; needed: {state.needs}")
    return state.name
