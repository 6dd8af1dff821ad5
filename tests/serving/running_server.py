"""A really running ``proxylm serve`` in a process of its own, for the tests of serving."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

_COMMAND = [sys.executable, "-c", "from proxylm.cli.main import main; main()", "serve"]
START_SECONDS = 150


class RunningServer:
    """The process, where it listens, and what it wrote to stderr."""

    def __init__(self, run: Path, *options: str) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [*_COMMAND, str(run), "--port", "0", "--json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._reader.start()
        assert self.process.stdout is not None
        killer = threading.Timer(START_SECONDS, self.process.kill)
        killer.start()
        line = self.process.stdout.readline()
        killer.cancel()
        assert line, f"the server did not start: {self.stderr}"
        ready = json.loads(line)
        self.url: str = ready["url"]
        self.model: str = ready["model"]
        self.root = self.url.removesuffix("/v1")
        self.host, _, port = self.root.removeprefix("http://").rpartition(":")
        self.port = int(port)

    @property
    def stderr(self) -> str:
        """What came so far."""
        return "".join(self._lines)

    def client(self, **options: Any) -> httpx.Client:
        """Talks to ``/v1``."""
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)

    def complete(self, **parameters: Any) -> httpx.Response:
        """One request in a connection of its own."""
        with self.client() as client:
            return client.post("/completions", json={"model": self.model, **parameters})

    def metric(self, name: str) -> float:
        """A metric without labels, as /metrics tells it."""
        text = httpx.get(f"{self.root}/metrics", trust_env=False).text
        [value] = [line.split()[1] for line in text.splitlines() if line.split()[0] == name]
        return float(value)

    def wait_for_metric(self, name: str, wanted: float, *, seconds: float = 20) -> None:
        """Until the metric has that value."""
        until = time.monotonic() + seconds
        while (value := self.metric(name)) != wanted:
            assert time.monotonic() < until, f"{name} is {value}, not {wanted}"
            time.sleep(0.02)

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self, *, seconds: float = 30) -> int:
        """The exit status, once it has ended by itself."""
        status = self.process.wait(timeout=seconds)
        self._reader.join(timeout=5)
        return status

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        self._lines.extend(self.process.stderr)


@contextmanager
def running_server(run: Path, *options: str) -> Iterator[RunningServer]:
    """The server while the block runs; killed in the end if it still lives."""
    server = RunningServer(run, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.wait()
