"""``proxylm bench serve``: bytes per second of a server, one client alone and eight at once.

The server is a process of its own with the whole way in between: HTTP over loopback, the queue,
the shared forward passes, an event for every piece. Clients are streamed to, which is the dearer
way. The yardstick of eight clients is one client of the same server; that of one client is the
same decoding without a server. The model decodes on one thread, as in ``bench generate``.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch

from proxylm.bench.generate import LAPTOP_SIZE, endless_model
from proxylm.bench.report import BenchmarkRow, alternate
from proxylm.models.config import ModelConfig
from proxylm.progress import TellCount, told, untold
from proxylm.serving.lifecycle import listen, serve
from proxylm.serving.limits import ServingLimits
from proxylm.threads import torch_threads

NAME = "endless"
CLIENTS = 8
PROMPT = "def area(radius):\n"
NEW_BYTES = 256
REPEATS = 5
_START_SECONDS = 120


def run_serve_benchmark(
    *,
    config: ModelConfig = LAPTOP_SIZE,
    new_bytes: int = NEW_BYTES,
    repeats: int = REPEATS,
    progress: TellCount = untold,
) -> list[BenchmarkRow]:
    """Greedy completions of one client and of several; total bytes/s."""
    model = endless_model(config)
    with _server(config) as port, ThreadPoolExecutor(CLIENTS) as pool, torch_threads(1):

        def one() -> None:
            _complete(port, new_bytes)

        def several() -> None:
            list(pool.map(lambda _: _complete(port, new_bytes), range(CLIENTS)))

        def direct() -> None:
            model.generate(PROMPT.encode(), max_new_bytes=new_bytes)

        (together, alone), served = (
            alternate(*pair, repeats=repeats)
            for pair in told([(several, one), (one, direct)], "cases", progress)
        )
    case, all_bytes = f"serve/clients-{CLIENTS}", CLIENTS * new_bytes
    one_client = "one client of the same server"
    no_server = "the same decoding in one process, without a server"
    return [
        BenchmarkRow.of_rates(case, all_bytes, "bytes/s", (together, CLIENTS * alone), one_client),
        BenchmarkRow.of_rates("serve/clients-1", new_bytes, "bytes/s", served, no_server),
    ]


@contextmanager
def _server(config: ModelConfig) -> Iterator[int]:
    """A server over a random model that never ends its text; the port it listens on."""
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=_serve, args=(config.model_dump(mode="json"), its))
    process.start()
    try:
        if not ours.poll(_START_SECONDS):
            raise TimeoutError("the server did not start")
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve(config: dict[str, object], ready: Connection) -> None:
    torch.set_num_threads(1)
    model = endless_model(ModelConfig.model_validate(config))
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    limits = ServingLimits(max_rows=CLIENTS, max_length_bytes=model.config.context)
    serve(model, listening, name=NAME, limits=limits, on_ready=lambda: ready.send(port))


def _complete(port: int, new_bytes: int) -> None:
    """Ask for one streamed completion and read it to its end."""
    body = {
        "model": NAME,
        "prompt": PROMPT,
        "max_tokens": new_bytes,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(
        "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
    )
    *_, usage, done = (line for line in connection.getresponse().read().split(b"\n") if line)
    connection.close()
    assert done == b"data: [DONE]"
    assert json.loads(usage.removeprefix(b"data: "))["usage"]["completion_tokens"] == new_bytes
