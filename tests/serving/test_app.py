"""The routes and the layers around them, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from proxylm.inference.batch_decoder import BatchDecoder
from proxylm.serving.app import Service, create_app
from proxylm.serving.limits import ServingLimits
from proxylm.serving.metrics import ServingMetrics
from proxylm.serving.scheduler import Scheduler
from small_models import small_model

MODEL = small_model(seed=3)
LIMITS = ServingLimits(max_rows=1, max_queue=1, max_length_bytes=100)


def service() -> Service:
    """Over a scheduler that does not run."""
    metrics = ServingMetrics()
    scheduler = Scheduler(lambda: BatchDecoder(MODEL, max_rows=1), limits=LIMITS, metrics=metrics)
    return Service(name="m", model=MODEL, scheduler=scheduler, limits=LIMITS, metrics=metrics)


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
