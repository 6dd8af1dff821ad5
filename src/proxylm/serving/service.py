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
from proxylm.serving.api_errors import ApiError
from proxylm.serving.bodies import read_json_body
from proxylm.serving.limits import ServingLimits
from proxylm.serving.metrics import ServingMetrics
from proxylm.serving.scheduler import Scheduler


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
        """A request's JSON body, within the limits; errors are those of ``read_json_body``."""
        return await read_json_body(
            request, max_bytes=self.limits.max_body_bytes, open_bodies=self._bodies
        )

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
