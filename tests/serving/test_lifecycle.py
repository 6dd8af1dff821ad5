"""The end of a server, in this process: what was open hears why before connections are closed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding_row import ByteDelta
from proxylm.serving import lifecycle
from proxylm.serving.limits import ServingLimits
from small_models import small_model

SECONDS = 30
MODEL = ByteModel(small_model(seed=3))
LIMITS = ServingLimits(max_rows=1, max_queue=4, max_length_bytes=100)


class Running:
    """A server in a thread; ``error`` is what it raised in the end, if it did."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.servers: list[lifecycle._DrainingServer] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._listening = lifecycle.listen("127.0.0.1", 0)
        self._port = self._listening.getsockname()[1]

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(SECONDS)

    def signal(self) -> None:
        self.servers[0].handle_exit(signal.SIGTERM, None)

    def wait(self) -> None:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def complete(self) -> httpx.Response:
        body: dict[str, Any] = {"model": "small", "max_tokens": 5}
        url = f"http://127.0.0.1:{self._port}/v1/completions"
        return httpx.post(url, json=body, timeout=SECONDS, trust_env=False)

    def _serve(self) -> None:
        try:
            lifecycle.serve(
                MODEL, self._listening, name="small", limits=LIMITS, on_ready=self._ready.set
            )
        except Exception as error:
            self.error = error


@contextmanager
def serving(
    monkeypatch: pytest.MonkeyPatch, make_decoder: Callable[..., BatchDecoder]
) -> Iterator[Running]:
    """A server with decoders of the test's."""
    running = Running()

    class Noted(lifecycle._DrainingServer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            running.servers.append(self)

    monkeypatch.setattr(lifecycle, "_DrainingServer", Noted)
    monkeypatch.setattr(lifecycle, "BatchDecoder", make_decoder)
    running.start()
    try:
        yield running
    finally:
        running.signal()
        running.signal()
        running.wait()


def test_what_is_stopped_hears_so_however_long_the_last_pass_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "_CLOSING_SECONDS", 0.3)
    inside, may_end = threading.Event(), threading.Event()

    class Slow(BatchDecoder):
        def step(self) -> list[ByteDelta]:
            inside.set()
            may_end.wait(SECONDS)
            return super().step()

    with serving(monkeypatch, Slow) as running, ThreadPoolExecutor() as pool:
        asked = [pool.submit(running.complete) for _ in range(2)]
        assert inside.wait(SECONDS)
        running.signal()
        running.signal()
        threading.Timer(1.0, may_end.set).start()
        for answer in [one.result(SECONDS) for one in asked]:
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] in ("stopped", "draining")
        assert "stopped" in {one.result().json()["error"]["code"] for one in asked}
    assert running.error is None


def test_when_nothing_can_be_decoded_any_more_the_server_ends_with_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[BatchDecoder] = []

    def make(*arguments: Any, **options: Any) -> BatchDecoder:
        if made:
            raise MemoryError("no room for another decoder")
        decoder = BatchDecoder(*arguments, **options)
        decoder.step = lambda: 1 // 0  # type: ignore[method-assign,assignment]
        made.append(decoder)
        return decoder

    with serving(monkeypatch, make) as running:
        answer = running.complete()
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
        running.wait()
    assert isinstance(running.error, lifecycle.DecodingError)
    assert running.error.exit_status == 1
    assert str(running.error).count("\n") == 0
