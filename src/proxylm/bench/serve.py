"""``proxylm bench serve``: a server's bytes per second and the times its clients wait.

The server is a process of its own with the whole way in between: HTTP over loopback, the queue,
the shared forward passes, an event for every piece. Clients are streamed to, which is the dearer
way. The model decodes on one thread, as in ``bench generate``.

- ``clients-8``: eight at once; the yardstick is one client of the same server, whose yardstick is
  the same decoding without a server. Throughput, and percentiles of the time to the first byte and
  between bytes.
- ``long-prompt``: what waits between bytes seven clients have while the server reads an eighth's
  long prompt, beside the same seven alone.
- ``prefix``: time to the first byte after a long prompt that begins like one before, beside one
  that does not.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from statistics import median

import numpy as np
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
PERCENTILES = (50, 95, 99)
LIMIT_OF_STALLS = 2.0
_START_SECONDS = 120
_FIRST_BYTE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Waits:
    """What one client waited for, in seconds.

    Attributes:
        sent: when it asked (``time.perf_counter``).
        pieces: when each event with text came.
    """

    sent: float
    pieces: list[float]

    @property
    def first(self) -> float:
        """From asking to the first byte."""
        return self.pieces[0] - self.sent

    def between(self, start: float = 0.0, end: float = float("inf")) -> list[float]:
        """The times between pieces, of those that came between two times."""
        pairs = zip(self.pieces, self.pieces[1:], strict=False)
        return [after - before for before, after in pairs if start <= after and before <= end]


def run_serve_benchmark(
    *,
    config: ModelConfig = LAPTOP_SIZE,
    new_bytes: int = NEW_BYTES,
    repeats: int = REPEATS,
    progress: TellCount = untold,
) -> list[BenchmarkRow]:
    """Greedy completions of one client and of several: total bytes/s, and seconds waited."""
    model = endless_model(config)
    with _server(config) as port, ThreadPoolExecutor(CLIENTS) as pool, torch_threads(1):
        ask = partial(_complete, port, new_bytes=new_bytes)
        by_one: list[Waits] = []
        by_several: list[Waits] = []

        def one() -> None:
            by_one.append(ask(PROMPT))

        def several() -> None:
            by_several.extend(pool.map(ask, [PROMPT] * CLIENTS))

        def direct() -> None:
            model.generate(PROMPT.encode(), max_new_bytes=new_bytes)

        (together, alone), served = (
            alternate(*pair, repeats=repeats)
            for pair in told([(several, one), (one, direct)], "cases", progress)
        )
        waits = _rows_of_waits(by_several[CLIENTS:], by_one[1:])
        long = _Long(config.context - new_bytes)
        stalls = _rows_of_stalls(ask, pool, long, repeats)
        prefix = _row_of_prefix(port, long, repeats)
    case, all_bytes = f"serve/clients-{CLIENTS}", CLIENTS * new_bytes
    one_client = "one client of the same server"
    no_server = "the same decoding in one process, without a server"
    return [
        BenchmarkRow.of_rates(case, all_bytes, "bytes/s", (together, CLIENTS * alone), one_client),
        BenchmarkRow.of_rates("serve/clients-1", new_bytes, "bytes/s", served, no_server),
        *waits,
        *stalls,
        prefix,
    ]


def _rows_of_waits(several: Sequence[Waits], one: Sequence[Waits]) -> list[BenchmarkRow]:
    """Percentiles of several clients' waits beside those of one."""
    kinds: dict[str, Callable[[Waits], list[float]]] = {
        "first-byte": lambda waits: [waits.first],
        "between-bytes": Waits.between,
    }
    rows = []
    for kind, of in kinds.items():
        for percentile in PERCENTILES:
            ours, theirs = (
                _percentile([seconds for waits in clients for seconds in of(waits)], percentile)
                for clients in (several, one)
            )
            case = f"serve/clients-{CLIENTS}/{kind}-p{percentile}"
            rows.append(_wait_row(case, ours, theirs, "one client of the same server"))
    return rows


def _rows_of_stalls(
    ask: Callable[..., Waits], pool: ThreadPoolExecutor, long: _Long, repeats: int
) -> list[BenchmarkRow]:
    """Waits between bytes beside a long prompt that is read, and without it."""
    beside, without, reading = [], [], []
    for _ in range(repeats):
        writing = threading.Semaphore(0)
        running = [pool.submit(ask, PROMPT, writing=writing) for _ in range(CLIENTS - 1)]
        for _ in running:
            writing.acquire(timeout=_FIRST_BYTE_SECONDS)  # who fails says so with its result
        start = time.perf_counter()
        end = pool.submit(ask, long.fresh()).result().pieces[0]
        beside += [gap for one in running for gap in one.result().between(start, end)]
        reading.append(end - start)
        alone = list(pool.map(ask, [PROMPT] * (CLIENTS - 1)))
        without += [gap for waits in alone for gap in waits.between()]
    yardstick_is = (
        f"the same clients without it; its {long.count} bytes took {median(reading):.2f} s to the "
        f"first new one, and the limit is a ratio of {1 / LIMIT_OF_STALLS}"
    )
    return [
        _wait_row(
            f"serve/long-prompt/between-bytes-p{percentile}",
            _percentile(beside, percentile),
            _percentile(without, percentile),
            yardstick_is,
        )
        for percentile in PERCENTILES
    ]


def _row_of_prefix(port: int, long: _Long, repeats: int) -> BenchmarkRow:
    """The first byte after a prompt that begins like one before, beside another one."""
    known, unknown = [], []
    for _ in range(repeats):
        text = long.fresh()
        unknown.append(_complete(port, text, new_bytes=4).first)
        known.append(_complete(port, f"{text[:-8]} another", new_bytes=4).first)
    yardstick_is = f"a prompt of {long.count} bytes that begins like none before"
    return _wait_row("serve/prefix/first-byte", median(known), median(unknown), yardstick_is)


class _Long:
    """Long prompts of which none begins like another."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._made = 0

    def fresh(self) -> str:
        self._made += 1
        return f"{self._made:06} {PROMPT * self.count}"[: self.count]


def _percentile(values: Sequence[float], percentile: int) -> float:
    return float(np.percentile(values, percentile))


def _wait_row(case: str, value: float, yardstick: float, yardstick_is: str) -> BenchmarkRow:
    return BenchmarkRow(case, value, "s", yardstick, yardstick_is, lower_is_better=True)


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


def _complete(
    port: int, prompt: str, *, new_bytes: int, writing: threading.Semaphore | None = None
) -> Waits:
    """Ask for one streamed completion and read it to its end; ``writing`` is told of its first."""
    body = {
        "model": NAME,
        "prompt": prompt,
        "max_tokens": new_bytes,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    connection = http.client.HTTPConnection("127.0.0.1", port)
    waits = Waits(time.perf_counter(), [])
    connection.request(
        "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
    )
    response, events = connection.getresponse(), []
    while line := response.readline():
        if line.startswith(b"data: "):
            waits.pieces.append(time.perf_counter())
            if writing is not None and len(waits.pieces) == 1:
                writing.release()
            events.append(line)
    connection.close()
    *_, usage, done = events
    del waits.pieces[-2:]
    assert done == b"data: [DONE]\n"
    assert json.loads(usage.removeprefix(b"data: "))["usage"]["completion_tokens"] == new_bytes
    return waits
