"""The routes: completions, chats and models under ``/v1``, tokens, metrics, health."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp

from proxylm.serving.api_errors import draining, install_error_handlers
from proxylm.serving.chat_request import parse_chat_request
from proxylm.serving.choices import Choices
from proxylm.serving.completion_request import parse_completion_request
from proxylm.serving.completions import Answer, ChatAnswer, answer
from proxylm.serving.metrics import CHAT_COMPLETIONS, COMPLETIONS, RequestMetrics
from proxylm.serving.opening import open_prompts
from proxylm.serving.service import Service
from proxylm.serving.tokenization import tokenization_routes


def create_app(service: Service) -> ASGIApp:
    """The application over a running scheduler."""
    app = FastAPI(
        title="proxylm", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    install_error_handlers(app)
    keyed = [Depends(service.check_key)]
    app.include_router(_openai_routes(service), dependencies=keyed)
    app.include_router(tokenization_routes(service), dependencies=keyed)
    app.include_router(_operation_routes(service))
    # Around the whole and no middleware of it: only so are answers to our own mistakes counted.
    return RequestMetrics(app, metrics=service.metrics)


def _openai_routes(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.post(COMPLETIONS)
    async def _complete(request: Request) -> Response:
        body = await service.read_body(request)
        wanted = parse_completion_request(body, service.limits)
        service.require_model(wanted.model)
        opened = await open_prompts(wanted, service)
        return await answer(Answer(wanted, Choices(wanted, opened, service)), request.receive)

    @routes.post(CHAT_COMPLETIONS)
    async def _chat(request: Request) -> Response:
        asked = parse_chat_request(await service.read_body(request))
        service.require_model(asked.model)
        template = service.require_chat()
        # In a thread, for long conversations: the event loop is everybody's.
        wanted = await asyncio.to_thread(asked.as_completion, template, service.limits)
        opened = await open_prompts(wanted, service, chat=template)
        return await answer(ChatAnswer(wanted, Choices(wanted, opened, service)), request.receive)

    @routes.get("/v1/models")
    async def _list_models() -> dict[str, Any]:
        return {"object": "list", "data": [service.model_object()]}

    @routes.get("/v1/models/{name:path}")
    async def _show_model(name: str) -> dict[str, Any]:
        service.require_model(name)
        return service.model_object()

    return routes


def _operation_routes(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.get("/metrics")
    async def _metrics() -> Response:
        return PlainTextResponse(
            generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST
        )

    @routes.get("/healthz")
    async def _health() -> Response:
        if not service.scheduler.accepting:
            return draining().response()
        return JSONResponse({"status": "ok"})

    return routes
