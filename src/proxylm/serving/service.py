"""What the routes need of the one served model: its name, its key, its scheduler, its limits."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fastapi import Request

from proxylm.generation.drafts import Drafter
from proxylm.generation.token_reading import TokenReading
from proxylm.scoring.readings import RawReading
from proxylm.serving.api_errors import ApiError
from proxylm.serving.bodies import read_json_body
from proxylm.serving.chat_template import ChatTemplate
from proxylm.serving.limits import ServingLimits
from proxylm.serving.metrics import ServingMetrics
from proxylm.serving.scheduler import Scheduler

ServedReading = RawReading | TokenReading
"""How a server reads prompts: they go on in bytes, or in a compressor's symbols."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """The served model.

    Attributes:
        name: of the model, in ``model`` of every request.
        scheduler: decodes for all requests.
        limits: of one request and of all.
        metrics: of this server.
        reading: how prompts are read where a request does not say.
        other_readings: further ways, which a request's ``read_as`` can name.
        chat_template: makes a prompt of a conversation; None: the model has none.
        drafter: drafts several bytes per forward pass; None: one byte per pass.
        api_key: what ``Authorization: Bearer`` must carry, but for metrics and health; None:
            nothing.
        created: when the server started, in seconds since 1970.
    """

    name: str
    scheduler: Scheduler
    limits: ServingLimits
    metrics: ServingMetrics
    reading: ServedReading
    other_readings: Sequence[ServedReading] = ()
    chat_template: ChatTemplate | None = None
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

    def require_chat(self) -> ChatTemplate:
        """The model's chat template.

        Raises:
            ApiError: 400, it has none.
        """
        if self.chat_template is None:
            message = (
                f"model: {self.name!r} has no chat template, so there is no way to read messages; "
                "ask /v1/completions with a prompt"
            )
            raise ApiError(400, message, param="model", code="no_chat_template")
        return self.chat_template

    def reading_named(self, name: str | None) -> ServedReading:
        """A way to read prompts; None is the server's own.

        Raises:
            ApiError: 422, it does not read so.
        """
        readings = {one.name: one for one in (self.reading, *self.other_readings)}
        if name is None:
            return self.reading
        if name not in readings:
            message = f"read_as: this server reads as {' or '.join(readings)}"
            raise ApiError(422, message, param="read_as")
        return readings[name]

    def model_object(self) -> dict[str, Any]:
        """The model, as OpenAI's interface lists it."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "proxylm",
        }
