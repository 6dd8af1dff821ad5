"""The scheduler alone: order, bounds, cancellation, failure, drain and stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.options import GenerationOptions
from proxylm.generation.request import ByteRequest
from proxylm.serving.api_errors import ApiError
from proxylm.serving.limits import ServingLimits
from proxylm.serving.metrics import ServingMetrics
from proxylm.serving.scheduler import Event, ScheduledSequence, Scheduler
from small_models import small_model

LONG = 100_000
SECONDS = 30
MODEL = small_model(seed=3)
LIMITS = ServingLimits(max_rows=2, max_queue=2, max_length_bytes=2 * LONG)


class Client:
    """A sequence and what came of it."""

    def __init__(
        self,
        prompt: bytes = b"a",
        *,
        new_bytes: int = 5,
        sample: int = 0,
        score_prompt: bool = False,
    ) -> None:
        self.events: list[Event] = []
        self.data = b""
        self.started = threading.Event()
        self.ended = threading.Event()
        options = GenerationOptions(max_new_bytes=new_bytes)
        request = ByteRequest(
            prompt=prompt, options=options, sample=sample, score_prompt=score_prompt
        )
        self.sequence = ScheduledSequence(
            request=request,
            on_event=self.receive,
            prompt_bytes=0 if request.sample else len(request.prompt),
        )

    def receive(self, event: Event) -> None:
        self.events.append(event)
        self.started.set()
        if isinstance(event, ApiError):
            self.ended.set()
        elif not event.of_prompt:
            self.data += event.data
            if event.finish is not None:
                self.ended.set()

    def result(self) -> bytes:
        assert self.ended.wait(SECONDS)
        return self.data

    @property
    def error(self) -> ApiError:
        self.result()
        assert isinstance(self.events[-1], ApiError)
        return self.events[-1]


def alone(prompt: bytes, new_bytes: int = 5) -> bytes:
    from proxylm.generation.byte_model import ByteModel

    return ByteModel(MODEL).generate(prompt, max_new_bytes=new_bytes)


@contextmanager
def scheduler(
    make_decoder: Callable[[], BatchDecoder] | None = None,
) -> Iterator[tuple[Scheduler, ServingMetrics]]:
    def make() -> BatchDecoder:
        return BatchDecoder(MODEL, max_rows=LIMITS.max_rows)

    metrics = ServingMetrics()
    with Scheduler(make_decoder or make, limits=LIMITS, metrics=metrics) as running:
        yield running, metrics


def value(metrics: ServingMetrics, name: str) -> float:
    found = metrics.registry.get_sample_value(name)
    assert found is not None
    return found


def test_more_sequences_than_rows_all_get_what_they_get_alone() -> None:
    prompts = [b"", b"one", b"two words", b"\xff"]
    with scheduler() as (running, metrics):
        clients = [Client(prompt) for prompt in prompts]
        running.submit([client.sequence for client in clients])
        assert [client.result() for client in clients] == [alone(prompt) for prompt in prompts]
    assert value(metrics, "proxylm_new_bytes_total") == sum(len(c.data) for c in clients)
    assert value(metrics, "proxylm_prompt_bytes_total") == sum(map(len, prompts))
    assert value(metrics, "proxylm_first_byte_seconds_count") == len(clients)


def test_what_does_not_fit_into_rows_and_queue_is_429_and_nothing_of_it_is_taken() -> None:
    with scheduler() as (running, _):
        clients = [Client(new_bytes=LONG) for _ in range(3)]
        running.submit([client.sequence for client in clients])
        with pytest.raises(ApiError) as caught:
            running.submit([Client().sequence, Client().sequence])
        assert caught.value.status == 429
        assert int(caught.value.headers["Retry-After"]) >= 1
        last = Client()
        running.submit([last.sequence])  # the queue still has one place
        running.cancel([client.sequence for client in clients])
        assert last.result() == alone(b"a")


def test_a_cancelled_sequence_frees_its_row_and_hears_nothing_more() -> None:
    with scheduler() as (running, metrics):
        long, other, waiting = Client(new_bytes=LONG), Client(new_bytes=LONG), Client(b"w")
        running.submit([long.sequence, other.sequence, waiting.sequence])
        assert long.started.wait(SECONDS)
        running.cancel([long.sequence, waiting.sequence])
        next_one = Client(b"next")
        running.submit([next_one.sequence])
        assert next_one.result() == alone(b"next")
        heard = len(long.events)
        assert waiting.events == []
        running.cancel([other.sequence, next_one.sequence])  # one has ended: nothing happens
    assert len(long.events) == heard
    assert value(metrics, "proxylm_running_sequences") == 0


def test_draining_refuses_what_is_new_and_finishes_what_is_here() -> None:
    with scheduler() as (running, _):
        client = Client(new_bytes=300)
        running.submit([client.sequence])
        running.drain()
        assert not running.accepting
        with pytest.raises(ApiError) as caught:
            running.submit([Client().sequence])
        assert (caught.value.status, caught.value.code) == (503, "draining")
        assert client.result() == alone(b"a", 300)


def test_stopping_ends_what_runs_and_what_waits_with_an_error() -> None:
    with scheduler() as (running, _):
        clients = [Client(new_bytes=LONG) for _ in range(4)]
        running.submit([client.sequence for client in clients])
        assert clients[0].started.wait(SECONDS)
        running.stop()
        assert {client.error.code for client in clients} == {"stopped"}


@pytest.mark.parametrize("failing_method", ["step", "add"])
def test_after_a_failure_what_was_open_is_500_and_the_next_is_served(failing_method: str) -> None:
    made: list[BatchDecoder] = []

    def make() -> BatchDecoder:
        decoder = BatchDecoder(MODEL, max_rows=LIMITS.max_rows)
        if not made:
            setattr(decoder, failing_method, lambda *_: 1 // 0)
        made.append(decoder)
        return decoder

    with scheduler(make) as (running, _):
        failing = [Client(), Client(), Client()]
        running.submit([client.sequence for client in failing])
        assert [client.error.status for client in failing] == [500] * 3
        after = [Client(bytes([number])) for number in range(4)]
        running.submit([client.sequence for client in after])
        assert after[3].result() == alone(b"\x03")
    assert len(made) == 2


@pytest.mark.parametrize("working_decoders", [0, 1])
def test_when_no_decoder_can_be_made_all_is_500_and_nothing_is_accepted(
    working_decoders: int,
) -> None:
    made: list[BatchDecoder] = []

    def make() -> BatchDecoder:
        decoder = BatchDecoder(MODEL, max_rows=LIMITS.max_rows)
        decoder.step = lambda: 1 // 0  # type: ignore[method-assign,assignment]
        made.append(decoder)
        may_go_on.wait(SECONDS)
        if len(made) > working_decoders:
            raise MemoryError("no room for another decoder")
        return decoder

    may_go_on = threading.Event()
    with scheduler(make) as (running, _):
        clients = [Client() for _ in range(4)]
        running.submit([client.sequence for client in clients])
        may_go_on.set()
        assert [client.error.status for client in clients] == [500] * 4
        until = time.monotonic() + SECONDS
        while not running.ended:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert not running.accepting
        with pytest.raises(ApiError) as caught:
            running.submit([Client().sequence])
        assert caught.value.status == 503
    assert isinstance(running.failure, MemoryError)


def test_a_scored_prompt_counts_as_no_new_bytes_and_once_as_a_prompt() -> None:
    prompt = b"a prompt of some length " * 20
    clients = [Client(prompt, sample=sample, score_prompt=True) for sample in range(3)]
    with scheduler() as (running, metrics):
        running.submit([client.sequence for client in clients])
        assert {client.result() for client in clients} == {alone(prompt)}
    assert value(metrics, "proxylm_prompt_bytes_total") == len(prompt), "once, as in usage"
    assert value(metrics, "proxylm_new_bytes_total") == sum(len(c.data) for c in clients)
    assert value(metrics, "proxylm_first_byte_seconds_count") == len(clients)
    for client in clients:
        scored = [event for event in client.events if event.of_prompt]
        assert b"".join(event.data for event in scored) == prompt
        assert sum(len(event.logprobs) for event in scored) == len(prompt)
