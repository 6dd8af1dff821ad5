"""Errors of an application, each in the one form."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from proxylm.serving.api_errors import (
    ApiError,
    draining,
    install_error_handlers,
    internal,
    overloaded,
    stopped,
    too_many_requests,
)


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (ApiError(422, "n: no", param="n"), 422, "invalid_request_error", None),
        (overloaded(3), 429, "rate_limit_error", "overloaded"),
        (draining(), 503, "server_error", "draining"),
        (too_many_requests(), 503, "server_error", "too_many_requests"),
        (stopped(), 503, "server_error", "stopped"),
        (internal(), 500, "server_error", "internal"),
        (HTTPException(404, "Not Found"), 404, "invalid_request_error", None),
        (ZeroDivisionError("ours"), 500, "server_error", "internal"),
    ],
)
def test_each_error_leaves_in_the_one_form(
    error: Exception, status: int, kind: str, code: str | None
) -> None:
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    answer = asyncio.run(get(app))
    assert answer.status_code == status
    body: dict[str, Any] = answer.json()
    assert set(body) == {"error"}
    assert (body["error"]["type"], body["error"]["code"]) == (kind, code)
    assert "ours" not in answer.text, "what is wrong inside stays in the log"
    assert ("retry-after" in answer.headers) == (status in (429, 503))


async def get(app: FastAPI) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get("/")
