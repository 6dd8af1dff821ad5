"""A server in a thread of the test's process, listening as ever: real clients without its start."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from proxylm.generation.byte_model import ByteModel
from proxylm.serving import lifecycle
from proxylm.serving.limits import ServingLimits

SECONDS = 60
NAME = "m"


@contextmanager
def threaded_server(model: ByteModel, **options: Any) -> Iterator[str]:
    """The address that it serves ``/v1`` at."""
    options = {"limits": ServingLimits(max_length_bytes=400), **options}
    servers: list[lifecycle._DrainingServer] = []

    class Noted(lifecycle._DrainingServer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            servers.append(self)

    listening, ready = lifecycle.listen("127.0.0.1", 0), threading.Event()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"

    def run() -> None:
        lifecycle.serve(model, listening, name=NAME, on_ready=ready.set, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifecycle, "_DrainingServer", Noted)
        thread = threading.Thread(target=run)
        thread.start()
        assert ready.wait(SECONDS)
    try:
        yield address
    finally:
        for _ in range(2):
            servers[0].handle_exit(signal.SIGTERM, None)
        thread.join(SECONDS)
