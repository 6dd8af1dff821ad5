"""What the routes need of the one served model: its name, its key, its scheduler, its limits."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fastapi import Request

from proxylm.generation.drafts import Drafter
from proxylm.serving.api_errors import ApiError
from proxylm.serving.body import BodyReader
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
        drafter: drafts several bytes per forward pass; None: one byte per pass.
        api_key: what ``Authorization: Bearer`` must carry, but for metrics and health; None:
            nothing.
        created: when the server started, in seconds since 1970.
    """

    name: str
    scheduler: Scheduler
    limits: ServingLimits
    metrics: ServingMetrics
    drafter: Drafter | None = None
    api_key: str | None = None
    created: int = field(default_factory=lambda: int(time.time()))

    @cached_property
    def bodies(self) -> BodyReader:
        """Reads those of all requests."""
        limits = self.limits
        return BodyReader(max_bytes=limits.max_body_bytes, max_open=limits.max_open_bodies)

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

    def require_model(self, name: str) -> None:
        """Refuse the name of a model that is not here.

        Raises:
            ApiError: 404.
        """
        if name != self.name:
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
