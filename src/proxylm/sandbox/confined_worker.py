"""The trusted end of one run: starts a confined worker, talks to it, and ends it.

A run ends for good at the first of: its time is up, the worker is gone, the worker broke the
protocol. From then on every request raises ``EndOfRun`` again and ``ended`` keeps why, so that a
test that swallows exceptions cannot pass.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from proxylm.sandbox.inside import tagged
from proxylm.sandbox.isolation import ENVIRONMENT, Isolation
from proxylm.sandbox.verdict import SandboxError, Status, out_of_time

START_LIMIT_S = 60.0
END_LIMIT_S = 2.0
CHUNK_BYTES = 1 << 16


class EndOfRun(BaseException):
    """The run is over, whatever the test thinks: no ``except Exception`` of it sees this."""

    def __init__(self, status: Status, reason: str):
        super().__init__(reason)
        self.status = status
        self.reason = reason


class ConfinedWorker:
    """A confined worker and the clock of its run."""

    def __init__(
        self,
        isolation: Isolation,
        timeout_s: float,
        max_result_bytes: int = tagged.DEFAULT_RESULT_BYTES,
    ):
        """Start a worker and wait until it is confined; the run's clock starts then.

        Raises:
            SandboxError: it did not start, or could not give everything up.
        """
        self.ended: EndOfRun | None = None
        self._timeout_s = timeout_s
        self.max_result_bytes = max_result_bytes
        self.last_reply_bytes = 0
        self._deadline = time.monotonic() + START_LIMIT_S
        self._start(isolation)
        try:
            settings = isolation.settings(timeout_s)
            self._send({**settings, "max_result_bytes": max_result_bytes})
            answer = self._receive()
        except EndOfRun as end:
            said = (self._errors.read() or b"").decode(errors="replace").strip().splitlines()
            self.close()
            why_not = said[-1] if said else end.reason
            raise SandboxError(f"{isolation.name}: no worker ({why_not})") from None
        if answer != {"confined": True}:
            self.close()
            raise SandboxError(f"{isolation.name}: {answer.get('unconfined', 'no worker')}")
        self._deadline = time.monotonic() + timeout_s

    def request(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """One message to the worker, and its reply.

        Raises:
            EndOfRun: the run is over.
        """
        if self.ended is not None:
            raise self.ended
        try:
            self._send(message)
            return self._receive()
        except tagged.CannotCross as error:
            raise self.end(Status.FAILED, str(error)) from None

    def end(self, status: Status, reason: str) -> EndOfRun:
        """End the run; returns what to raise. The first reason stays."""
        self.ended = self.ended or EndOfRun(status, reason)
        self._process.kill()
        return self.ended

    def close(self) -> None:
        """Kill the worker, with all that it started, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        os.close(self._calls)
        # bubblewrap's process goes first; the worker has gone when nobody can reply any more.
        limit = time.monotonic() + END_LIMIT_S
        while ready({self._replies: select.POLLIN}, limit) and os.read(self._replies, CHUNK_BYTES):
            pass
        os.close(self._replies)
        self._errors.close()

    def _start(self, isolation: Isolation) -> None:
        worker_calls, self._calls = os.pipe()
        self._replies, worker_replies = os.pipe()
        os.set_blocking(self._calls, False)
        error_stream, error_target = os.pipe()
        self._errors = os.fdopen(error_stream, "rb", buffering=0)
        os.set_blocking(error_stream, False)
        descriptors = (worker_calls, worker_replies)
        try:
            self._process = subprocess.Popen(
                isolation.command(descriptors),
                env=ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=error_target,
                pass_fds=(*descriptors, *isolation.shared_descriptors()),
            )
        finally:
            for descriptor in (*descriptors, error_target):
                os.close(descriptor)

    def _send(self, message: Mapping[str, Any]) -> None:
        payload = tagged.dump(message)
        data = memoryview(len(payload).to_bytes(4, "big") + payload)
        while data:
            if not ready({self._calls: select.POLLOUT}, self._deadline):
                raise self._out_of_time()
            try:
                data = data[os.write(self._calls, data) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._gone() from None

    def _receive(self) -> dict[str, Any]:
        length = int.from_bytes(self._read(4), "big")
        if length > self.max_result_bytes:
            raise self.end(Status.FAILED, f"a reply takes more than {self.max_result_bytes} bytes")
        self.last_reply_bytes = length
        return tagged.load(self._read(length))

    def _read(self, size: int) -> bytes:
        parts = []
        while size > 0:
            if not ready({self._replies: select.POLLIN}, self._deadline):
                raise self._out_of_time()
            part = os.read(self._replies, min(size, CHUNK_BYTES))
            if not part:
                raise self._gone()
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _out_of_time(self) -> EndOfRun:
        return self.end(Status.TIMED_OUT, out_of_time(self._timeout_s))

    def _gone(self) -> EndOfRun:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=END_LIMIT_S)
        code = self._process.returncode
        how = "" if code is None else f" (signal {-code})" if code < 0 else f" (exit status {code})"
        return self.end(Status.CRASHED, f"the program ended its process{how}")


def ready(events: Mapping[int, int], limit: float) -> set[int]:
    """The descriptors for which their event (or the other side's end) comes before the limit."""
    poll = select.poll()
    for descriptor, event in events.items():
        poll.register(descriptor, event)
    while (left := limit - time.monotonic()) > 0:
        if found := poll.poll(left * 1000):
            return {descriptor for descriptor, _ in found}
    return set()
