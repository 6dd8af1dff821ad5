"""Judging programs, one or many: the public calls of this folder.

Each worker is one judging process fed by one thread; verdicts come in the order of submission.
"""

from __future__ import annotations

import os
import queue
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from proxylm.sandbox.detection import usable_tier
from proxylm.sandbox.judge_process import JudgeProcess
from proxylm.sandbox.verdict import Submission, Verdict

AHEAD_PER_WORKER = 2


def check(
    program: str | bytes,
    test: str,
    entry_point: str,
    timeout_s: float,
    *,
    tier: str | None = None,
) -> Verdict:
    """Judge one program in a sandbox; ``check_many`` is faster for several.

    Args:
        program, test, entry_point, timeout_s: see ``Submission``.
        tier: ``bubblewrap`` or ``landlock``; None takes the first that works here.

    Raises:
        SandboxError: no isolation tier works on this machine; nothing was run.
        UsageError: the time limit or the tier's name is wrong.

    Example:
        >>> check("def twice(x): return 2 * x", "assert twice(4) == 8", "twice", 5.0).passed
        True
    """
    one = Submission(program=program, test=test, entry_point=entry_point, timeout_s=timeout_s)
    (verdict,) = check_many([one], workers=1, tier=tier)
    return verdict


def check_many(
    submissions: Iterable[Submission], *, workers: int | None = None, tier: str | None = None
) -> Iterator[Verdict]:
    """Judge many programs; verdicts in the order of the submissions, as they become known.

    Args:
        submissions: consumed a little ahead of the verdicts, so they may be generated on the way.
        workers: programs judged at the same time; None takes the number of cores.
        tier: as in ``check``.

    Raises:
        SandboxError: no isolation tier works on this machine; raised before any is taken.
        UsageError: the tier's name is wrong.
    """
    return _verdicts(submissions, workers or os.cpu_count() or 1, usable_tier(tier))


def _verdicts(submissions: Iterable[Submission], workers: int, tier: str) -> Iterator[Verdict]:
    waiting: deque[Future[Verdict]] = deque()
    processes: list[JudgeProcess] = []
    free: queue.SimpleQueue[JudgeProcess] = queue.SimpleQueue()
    threads = ThreadPoolExecutor(max_workers=workers)
    try:
        for submission in submissions:
            if len(processes) < workers:
                processes.append(JudgeProcess(tier))
                free.put(processes[-1])
            waiting.append(threads.submit(_judge, submission, free))
            if len(waiting) >= AHEAD_PER_WORKER * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # Nobody may want the rest (an error, an interrupt): what still runs is not waited for.
        threads.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.stop()
        threads.shutdown()
        for process in processes:
            process.close()


def _judge(submission: Submission, free: queue.SimpleQueue[JudgeProcess]) -> Verdict:
    process = free.get()
    try:
        return process.judge(submission)
    finally:
        free.put(process)
