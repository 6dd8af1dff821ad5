"""The caller's end of a judging process (``judge.py``)."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict

from proxylm.sandbox.inside import frames, tagged
from proxylm.sandbox.verdict import SandboxError, Status, Submission, Verdict, verdict_of

END_LIMIT_S = 5.0


class JudgeProcess:
    """One judging process, one submission at a time; close it, or use it as a context manager."""

    def __init__(self, tier: str):
        # -P: no module of the working folder's stands in for a library's. Fixed hash seed: the
        # order of a set in a test must be that of the last run, too.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "proxylm.sandbox.judge", tier],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )

    def judge(self, submission: Submission) -> Verdict:
        """The verdict on a program; one that is no text is invalid, and is not run.

        Raises:
            SandboxError: no sandbox started, or the judging process is gone.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        program = submission.program
        try:
            source = program.decode() if isinstance(program, bytes) else program
            source.encode()
        except UnicodeError:
            return verdict_of(Status.INVALID, "the program is not valid UTF-8")
        if "\0" in source:
            return verdict_of(Status.INVALID, "the program has a NUL character")
        request = {**asdict(submission), "program": source}
        try:
            frames.send(self._process.stdin.fileno(), tagged.dump(request))
            payload = frames.receive(self._process.stdout.fileno())
        except BrokenPipeError:
            payload = None
        if payload is None:
            raise SandboxError("the judging process ended; no verdict was given")
        reply = tagged.load(payload)
        if "error" in reply:
            raise SandboxError(reply["error"])
        return Verdict(status=Status(reply["status"]), reason=reply["reason"])

    def stop(self) -> None:
        """End the process, with a sandbox that still runs; a ``judge`` that waits then raises."""
        self._process.terminate()
        try:
            self._process.wait(timeout=END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End the process and let go of it; nobody may be waiting in ``judge`` any more."""
        with self._process:  # which closes its streams
            self.stop()

    def __enter__(self) -> JudgeProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
