"""Running generated code so that its verdict can be trusted and nothing gets out.

``check`` judges one program, ``check_many`` many. The answers never enter the sandbox: the worker
there sees the program and the arguments of calls; the test runs outside with a remote stand-in for
the candidate, and results cross as plain tagged data. Two tiers of isolation, each sufficient:
``bubblewrap.py`` and ``landlock_seccomp.py``; where neither works, nothing is run.

The way of one submission: ``pool`` → ``judge_process`` → ``judge`` → ``confined_worker`` →
``inside/worker``, and ``trusted_test`` with ``remote`` on the way back.
"""

from __future__ import annotations

from proxylm.sandbox.pool import check, check_many
from proxylm.sandbox.verdict import SandboxError, Status, Submission, Verdict

__all__ = ["SandboxError", "Status", "Submission", "Verdict", "check", "check_many"]
