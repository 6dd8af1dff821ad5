"""``proxylm bench sandbox``: seconds a judged program costs beyond its own, in each tier.

Ours is one submission to a judging process that is running already, as ``check_many`` has them: a
forked child, the sandbox, the confined worker, the messages, the end of it all. The yardstick is a
plain Python process (``-S``) for the same program and test, with nothing to hold it. The second
case is how long after its time limit an endless program's verdict comes, beside the half second
that is promised.
"""

from __future__ import annotations

import subprocess
import time
from functools import partial

from proxylm.bench.report import BenchmarkRow, alternate
from proxylm.progress import TellCount, told, untold
from proxylm.sandbox import Submission
from proxylm.sandbox.detection import tier_state, usable_tier
from proxylm.sandbox.isolation import INTERPRETER
from proxylm.sandbox.judge_process import JudgeProcess
from proxylm.sandbox.tiers import TIERS

PROGRAM = "def f(x):\n    return x + 1\n"
TEST = "assert f(1) == 2\n"
ENDLESS = "def f(x):\n    while True:\n        pass\n"
LIMIT_S = 1.0
KILL_LIMIT_S = 0.5
REPEATS = 20


def run_sandbox_benchmark(
    *, repeats: int = REPEATS, progress: TellCount = untold
) -> list[BenchmarkRow]:
    """Measure every tier that works here.

    Args:
        repeats: timings per case, of which the median counts.
        progress: hears how many tiers are measured.

    Raises:
        SandboxError: no tier works.
    """
    usable_tier()
    tiers = [name for name in TIERS if tier_state(name).lacking is None]
    return [row for tier in told(tiers, "tiers", progress) for row in _measure(tier, repeats)]


def _measure(tier: str, repeats: int) -> list[BenchmarkRow]:
    plain = partial(subprocess.run, [INTERPRETER, "-S", "-c", PROGRAM + TEST], check=True)
    with JudgeProcess(tier) as judge:
        ours, yardstick = alternate(lambda: _judge(judge, PROGRAM, 60.0), plain, repeats=repeats)
        endless = [_judge(judge, ENDLESS, LIMIT_S) - LIMIT_S for _ in range(max(1, repeats // 5))]
    process = "a plain Python process for the same program and test"
    promise = "the promise; ours is the latest verdict after the limit, start included"
    row = partial(BenchmarkRow, unit="s", lower_is_better=True)
    return [
        row(f"sandbox/{tier}/program", ours, yardstick=yardstick, yardstick_is=process),
        row(f"sandbox/{tier}/kill", max(endless), yardstick=KILL_LIMIT_S, yardstick_is=promise),
    ]


def _judge(judge: JudgeProcess, program: str, timeout_s: float) -> float:
    start = time.perf_counter()
    verdict = judge.judge(
        Submission(program=program, test=TEST, entry_point="f", timeout_s=timeout_s)
    )
    assert verdict.passed == (program == PROGRAM), verdict
    return time.perf_counter() - start
