"""What the routes need of the one served model: its name, its key, its scheduler, its limits."""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fastapi import Request

from proxylm.generation.drafts import Drafter
from proxylm.scoring.readings import RawReading
from proxylm.serving.api_errors import ApiError, too_many_requests
from proxylm.serving.limits import ServingLimits
from proxylm.serving.metrics import ServingMetrics
from proxylm.serving.scheduler import Scheduler

_JSON = "application/json"
"""The one type of a request's body: what a web page can send to a server on this machine without
asking the browser for leave has other types."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """The served model.

    Attributes:
        name: of the model, in ``model`` of every request.
        scheduler: decodes for all requests.
        limits: of one request and of all.
        metrics: of this server.
        reading: how prompts are read.
        drafter: drafts several bytes per forward pass; None: one byte per pass.
        api_key: what ``Authorization: Bearer`` must carry, but for metrics and health; None:
            nothing.
        created: when the server started, in seconds since 1970.
    """

    name: str
    scheduler: Scheduler
    limits: ServingLimits
    metrics: ServingMetrics
    reading: RawReading
    drafter: Drafter | None = None
    api_key: str | None = None
    created: int = field(default_factory=lambda: int(time.time()))

    @cached_property
    def _bodies(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self.limits.max_open_bodies)

    async def read_body(self, request: Request) -> bytes:
        """A request's JSON body, within the limits of each and of all together.

        Raises:
            ApiError: 413 for one beyond the limit (said before it is read, where its length is
                given), 415 for another content type, 503 where too many are being read.
            ClientDisconnect: the client left before it was sent.
        """
        most = self.limits.max_body_bytes
        too_large = ApiError(413, f"the body is larger than {most} bytes", code="body_too_large")
        # More digits than any length that is meant; int() would refuse thousands of them.
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > most):
            raise too_large
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != _JSON:
            raise ApiError(415, f"content-type: must be {_JSON}", param="content-type")
        if self._bodies.locked():
            raise too_many_requests()
        body = bytearray()
        async with self._bodies:
            async for received in request.stream():
                body += received
                if len(body) > most:
                    raise too_large
        return bytes(body)

    async def check_key(self, request: Request) -> None:
        """Refuse a request without the key.

        Raises:
            ApiError: 401.
        """
        if self.api_key is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip(" ").encode("latin-1"), self.api_key.encode())
        if scheme.lower() != "bearer" or not same:  # a scheme's case is free (RFC 9110, 11.1)
            raise ApiError(
                401,
                "this server asks for its API key: send 'Authorization: Bearer KEY'",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def require_model(self, name: str | None) -> None:
        """Refuse the name of a model that is not here; None is taken for its name.

        Raises:
            ApiError: 404.
        """
        if name is not None and name != self.name:
            message = f"model: this server has {self.name!r} and not {name[:100]!r}"
            raise ApiError(404, message, param="model", code="model_not_found")

    def model_object(self) -> dict[str, Any]:
        """The model, as OpenAI's interface lists it."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "proxylm",
        }
