"""The process that judges: runs each test in a child of its own.

Started by ``judge_process.py`` as ``python -m proxylm.sandbox.judge TIER``. It is
small, has one thread and nothing of the caller's state, so it can fork safely; each child starts
one sandbox and runs one test, so no test sees what another left. When a test itself hangs (it is
trusted, but not bound to end), this process kills the child, and the sandbox dies with it. Every
descendant is waited for before a verdict is given.

Submissions come on stdin and verdicts go to stdout (``inside/frames.py``).
"""

from __future__ import annotations

import compileall
import contextlib
import os
import resource
import select
import signal
import sys
import time
from dataclasses import asdict
from typing import Any, NoReturn

from proxylm.sandbox.confined_worker import END_LIMIT_S, START_LIMIT_S, ConfinedWorker, ready
from proxylm.sandbox.inside import confinement, frames, tagged
from proxylm.sandbox.isolation import WORKER_FOLDER, Isolation
from proxylm.sandbox.tiers import TIERS
from proxylm.sandbox.trusted_test import run_test
from proxylm.sandbox.verdict import SandboxError, Status, out_of_time, verdict_of

GRACE_S = 0.15
"""How much later than the time limit a child that has not noticed it is killed."""

TEST_MEMORY_BYTES = 4 << 30
"""Bound on a child's address space: results that are small in transit can unfold in a test."""

STDIN, STDOUT = 0, 1


def serve(isolation: Isolation) -> None:
    """Judge submissions until stdin ends."""
    # Asked to end, it does so by way of the clean-up of the one at hand.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    confinement.adopt_orphans()
    compileall.compile_dir(WORKER_FOLDER, quiet=2)  # workers start faster, and write nothing
    isolation.prepare()
    while (payload := frames.receive(STDIN)) is not None:
        frames.send(STDOUT, tagged.dump(judge(isolation, tagged.load(payload))))


def judge(isolation: Isolation, submission: dict[str, Any]) -> dict[str, Any]:
    """Run one in a child; its verdict, or ``error`` when no sandbox started."""
    outcome, child_end = os.pipe()
    server = os.getpid()
    # Asked to end while it forks, Python would pass over the exception, and the child would stay.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.close(outcome)
        _run_child(isolation, submission, child_end, server)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.close(child_end)
        return _outcome(outcome, submission["timeout_s"])
    finally:
        os.close(outcome)
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(child, signal.SIGKILL)
        _wait_for_descendants()


def _outcome(descriptor: int, timeout_s: float) -> dict[str, Any]:
    if not _readable(descriptor, START_LIMIT_S):
        return {"error": f"no sandbox started within {START_LIMIT_S:g} s"}
    first = frames.receive(descriptor)
    if first is None:
        return {"error": "the process that starts the sandbox ended"}
    message = tagged.load(first)
    if "started" not in message:
        return message
    if not _readable(descriptor, timeout_s + GRACE_S):
        return asdict(verdict_of(Status.TIMED_OUT, out_of_time(timeout_s)))
    last = frames.receive(descriptor)
    if last is None:
        return asdict(verdict_of(Status.FAILED, "the test ended its own process"))
    return tagged.load(last)


def _readable(descriptor: int, seconds: float) -> bool:
    """Whether something comes in time; ends this process when the caller has gone."""
    events = {descriptor: select.POLLIN, STDIN: 0}  # of stdin only whether it hangs up
    found = ready(events, time.monotonic() + seconds)
    if STDIN in found:
        raise SystemExit
    return bool(found)


def _wait_for_descendants() -> None:
    limit = time.monotonic() + END_LIMIT_S
    while time.monotonic() < limit:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.001)
        except ChildProcessError:
            return


def _run_child(
    isolation: Isolation, submission: dict[str, Any], descriptor: int, server: int
) -> NoReturn:
    """Start a sandbox, run the test, tell; never returns into the server's loop."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        confinement.die_with(server)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):  # a test may print
            os.dup2(null, stream)
        resource.setrlimit(resource.RLIMIT_AS, (TEST_MEMORY_BYTES, TEST_MEMORY_BYTES))
        worker = ConfinedWorker(isolation, submission["timeout_s"], submission["max_result_bytes"])
        frames.send(descriptor, tagged.dump({"started": True}))
        verdict = run_test(
            worker, submission["program"], submission["test"], submission["entry_point"]
        )
        worker.close()
        frames.send(descriptor, tagged.dump(asdict(verdict)))
    except SandboxError as error:
        frames.send(descriptor, tagged.dump({"error": str(error)}))
    finally:
        os._exit(0)


if __name__ == "__main__":
    serve(TIERS[sys.argv[1]]())
