"""Which isolation tier this machine has: found by running a program in it, not by guessing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from proxylm.errors import UsageError
from proxylm.sandbox.judge_process import JudgeProcess
from proxylm.sandbox.tiers import TIERS
from proxylm.sandbox.verdict import SandboxError, Submission

PROBE = Submission(
    program="def answer():\n    return 42\n",
    test="assert answer() == 42",
    entry_point="answer",
    timeout_s=30.0,
)


@dataclass(frozen=True, kw_only=True)
class TierState:
    """One tier on this machine."""

    name: str
    lacking: str | None
    """Why it cannot be used; None when it works."""
    needs: str
    """What would have to be installed or allowed."""


@cache
def tier_state(name: str) -> TierState:
    """Whether a tier works here; tried once per process."""
    tier = TIERS[name]()
    return TierState(name=name, lacking=tier.lacking() or _probe(name), needs=tier.needs)


def _probe(name: str) -> str | None:
    try:
        with JudgeProcess(name) as judge:
            verdict = judge.judge(PROBE)
    except SandboxError as error:
        return str(error)
    return None if verdict.passed else f"a plain program did not pass ({verdict.reason})"


def usable_tier(name: str | None = None) -> str:
    """The tier asked for, or the first that works here.

    Raises:
        UsageError: there is no tier of that name.
        SandboxError: none works: generated code is never run unprotected.
    """
    if name is not None and name not in TIERS:
        raise UsageError(f"sandbox tier '{name}': expected one of {', '.join(TIERS)}")
    states = [tier_state(each) for each in ([name] if name else TIERS)]
    for state in states:
        if state.lacking is None:
            return state.name
    lacking = "; ".join(f"{state.name}: {state.lacking}" for state in states)
    needs = ", or ".join(state.needs for state in states)
    raise SandboxError(
        f"generated code is not run without a sandbox, and none works here ({lacking}); "
        f"needed: {needs}"
    )
