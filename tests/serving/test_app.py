"""The routes and the layers around them, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import httpx
import pytest

from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.scoring.readings import RawReading
from proxylm.serving.app import create_app
from proxylm.serving.limits import ServingLimits
from proxylm.serving.metrics import ServingMetrics
from proxylm.serving.scheduler import Scheduler
from proxylm.serving.service import Service
from small_models import small_model

MODEL = small_model(seed=3)
LIMITS = ServingLimits(max_rows=1, max_queue=1, max_length_bytes=100, max_open_bodies=3)


def service() -> Service:
    """Over a scheduler that does not run."""
    metrics = ServingMetrics()
    scheduler = Scheduler(
        lambda: BatchDecoder(MODEL, max_rows=1),
        limits=LIMITS,
        metrics=metrics,
    )
    return Service(
        name="m", scheduler=scheduler, limits=LIMITS, metrics=metrics, reading=RawReading()
    )


def ask(served: Service, method: str, path: str, **options: Any) -> httpx.Response:
    async def one() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(served), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)

    return asyncio.run(one())


def test_our_own_mistakes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    served = service()
    monkeypatch.setattr(Scheduler, "submit", lambda *_: 1 // 0)
    answer = ask(served, "POST", "/v1/completions", json={"model": "m"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    labels = {"path": "/v1/completions", "status": "500"}
    assert served.metrics.registry.get_sample_value("proxylm_requests_total", labels) == 1


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/completions/"), ("GET", "/v1/models/"), ("GET", "/metrics/")]
)
def test_a_slash_too_much_is_404_and_no_redirection(method: str, path: str) -> None:
    answer = ask(service(), method, path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}


def test_beyond_the_most_open_bodies_the_answer_is_503_and_no_body_is_read() -> None:
    served = service()
    asyncio.run(ask_too_often(served))
    counted = served.metrics.registry.get_sample_value
    labels = {"path": "/v1/completions", "status": "503"}
    assert counted("proxylm_requests_total", labels) == 1


async def ask_too_often(served: Service) -> None:
    transport = httpx.ASGITransport(create_app(served), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        head = {"content-type": "application/json"}
        reading: list[int] = []
        may_send = asyncio.Event()

        async def slow_body(number: int) -> AsyncIterator[bytes]:
            reading.append(number)
            await may_send.wait()
            yield b"{"

        def post(number: int, path: str = "/v1/completions") -> Awaitable[httpx.Response]:
            return client.post(path, content=slow_body(number), headers=head)

        held = [asyncio.ensure_future(post(number)) for number in range(LIMITS.max_open_bodies)]
        while len(reading) < LIMITS.max_open_bodies:
            await asyncio.sleep(0)
        refused = await asyncio.wait_for(post(99), 10)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "too_many_requests"
        assert refused.headers["retry-after"]
        assert 99 not in reading
        assert (await asyncio.wait_for(post(98, "/tokenize"), 10)).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        may_send.set()
        assert [(await one).status_code for one in held] == [400] * len(held)
        assert (await asyncio.wait_for(post(100), 10)).status_code == 400, "there is room again"
