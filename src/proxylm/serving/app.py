"""The routes: completions and models under ``/v1``, tokens, metrics, whether the server is well."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from proxylm.models.language_model import LanguageModel
from proxylm.serving.api_errors import ApiError, draining, install_error_handlers
from proxylm.serving.body import read_json_body
from proxylm.serving.completion_request import parse_completion_request
from proxylm.serving.completions import CLIENT_LEFT, answer
from proxylm.serving.generation import Generation
from proxylm.serving.limits import ServingLimits
from proxylm.serving.metrics import COMPLETIONS, RequestMetrics, ServingMetrics
from proxylm.serving.open_requests import OpenRequests
from proxylm.serving.scheduler import Scheduler
from proxylm.serving.tokenization import tokenization_routes


@dataclass(frozen=True, kw_only=True)
class Service:
    """What the routes need.

    Attributes:
        name: of the model, in ``model`` of every request.
        model: the model itself.
        scheduler: decodes for all requests.
        limits: of one request and of all.
        metrics: of this server.
        api_key: what ``Authorization: Bearer`` must carry, but for metrics and health; None:
            nothing.
        created: when the server started, in seconds since 1970.
    """

    name: str
    model: LanguageModel
    scheduler: Scheduler
    limits: ServingLimits
    metrics: ServingMetrics
    api_key: str | None = None
    created: int = field(default_factory=lambda: int(time.time()))


def create_app(service: Service) -> ASGIApp:
    """The application over a running scheduler."""
    app = FastAPI(
        title="proxylm", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    install_error_handlers(app)
    app.include_router(_openai_routes(service))
    keyed = [Depends(_key_check(service.api_key))]
    own_name = partial(_require_model, service)
    app.include_router(tokenization_routes(service.limits, own_name, dependencies=keyed))
    app.include_router(_operation_routes(service))
    bounded = OpenRequests(app, path=COMPLETIONS, most=service.limits.max_requests)
    # Around the whole and no middleware of it: only so are answers to our own mistakes counted.
    return RequestMetrics(bounded, metrics=service.metrics)


def _openai_routes(service: Service) -> APIRouter:
    routes = APIRouter(dependencies=[Depends(_key_check(service.api_key))])

    @routes.post(COMPLETIONS)
    async def _complete(request: Request) -> Response:
        try:
            body = await read_json_body(request, max_bytes=service.limits.max_body_bytes)
        except ClientDisconnect:
            return Response(status_code=CLIENT_LEFT)
        wanted = parse_completion_request(body, service.limits)
        _require_model(service, wanted.model)
        generation = Generation(wanted, service.scheduler, service.model)
        return await answer(wanted, generation, request.receive)

    @routes.get("/v1/models")
    async def _list_models() -> dict[str, Any]:
        return {"object": "list", "data": [_model_object(service)]}

    @routes.get("/v1/models/{name:path}")
    async def _show_model(name: str) -> dict[str, Any]:
        _require_model(service, name)
        return _model_object(service)

    return routes


def _operation_routes(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.get("/metrics")
    async def _metrics() -> Response:
        return PlainTextResponse(service.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    @routes.get("/healthz")
    async def _health() -> Response:
        if not service.scheduler.accepting:
            return draining().response()
        return JSONResponse({"status": "ok"})

    return routes


def _key_check(api_key: str | None) -> Any:
    async def check(request: Request) -> None:
        if api_key is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip(" ").encode("latin-1"), api_key.encode())
        if scheme.lower() != "bearer" or not same:  # a scheme's case is free (RFC 9110, 11.1)
            raise ApiError(
                401,
                "this server asks for its API key: send 'Authorization: Bearer KEY'",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    return check


def _require_model(service: Service, name: str) -> None:
    if name != service.name:
        message = f"model: this server has {service.name!r} and not {name[:100]!r}"
        raise ApiError(404, message, param="model", code="model_not_found")


def _model_object(service: Service) -> dict[str, Any]:
    return {
        "id": service.name,
        "object": "model",
        "created": service.created,
        "owned_by": "proxylm",
    }
