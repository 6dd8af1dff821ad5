"""The routes: the page's files, and one path for each question that the page asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic_core import to_json
from starlette.types import ASGIApp

from proxylm.config import Config
from proxylm.errors import ProxylmError
from proxylm.inspector.context_views import PackedContexts
from proxylm.inspector.guard import Guard
from proxylm.inspector.holdings import Holdings
from proxylm.inspector.model_views import (
    InspectedModel,
    continuation,
    draft_passes,
    exact_next_bytes,
    next_symbols,
    surprisal,
    what_is_read,
)
from proxylm.inspector.page_files import page_files
from proxylm.inspector.requests import (
    MAX_BODY_BYTES,
    MAX_OPEN_BODIES,
    MAX_TEXT_BYTES,
    CollisionsAsked,
    ContextAsked,
    ContinuationAsked,
    DeletionsAsked,
    DraftsAsked,
    ReadingAsked,
    ViewsAsked,
)
from proxylm.inspector.text_views import collisions, deletions, text_views
from proxylm.scoring.readings import Reading
from proxylm.serving.api_errors import ApiError, install_error_handlers
from proxylm.serving.bodies import read_json_body
from proxylm.serving.completion_request import read_parameters

Asked = TypeVar("Asked", bound=Config)


def create_app(holdings: Holdings) -> ASGIApp:
    """The application over what is held."""
    app = FastAPI(title="proxylm inspect", openapi_url=None, docs_url=None, redoc_url=None)
    install_error_handlers(app)

    @app.exception_handler(ProxylmError)
    async def _what_a_user_can_cause(_: Request, error: ProxylmError) -> JSONResponse:
        return ApiError(400, str(error)).response()

    app.include_router(_page_routes())
    app.include_router(_questions(holdings))
    return Guard(app)


def _page_routes() -> APIRouter:
    routes = APIRouter()
    for path, (content, media_type) in page_files().items():
        routes.add_api_route(path, _file(content, media_type), methods=["GET"])
    return routes


def _file(content: bytes, media_type: str) -> Callable[[], Response]:
    def answer() -> Response:
        return Response(content, media_type=media_type)

    return answer


class _Ask:
    """Makes routes of functions: the body is read and checked, the answer is written as JSON."""

    def __init__(self) -> None:
        self.routes = APIRouter(prefix="/api")
        self._open_bodies = asyncio.Semaphore(MAX_OPEN_BODIES)

    def __call__(self, path: str, kind: type[Asked], answer: Callable[[Asked], Any]) -> None:
        # No coroutine: what computes runs in a thread, the event loop is everybody's.
        def ask(body: bytes = Depends(self._read)) -> Response:
            return _json(answer(read_parameters(kind, body)))

        self.routes.add_api_route(path, ask, methods=["POST"], response_model=None)

    async def _read(self, request: Request) -> bytes:
        return await read_json_body(
            request, max_bytes=MAX_BODY_BYTES, open_bodies=self._open_bodies
        )


def _questions(holdings: Holdings) -> APIRouter:
    ask = _Ask()
    _ask_of_texts(ask, holdings)
    _ask_of_models(ask, holdings)
    _ask_of_contexts(ask, holdings)

    @ask.routes.get("/holdings")
    def _holdings() -> Response:
        return _json(holdings.as_json() | {"max_text_bytes": MAX_TEXT_BYTES})

    return ask.routes


def _ask_of_texts(ask: _Ask, holdings: Holdings) -> None:
    compressors, lock = holdings.compressors, Lock()

    def views(asked: ViewsAsked) -> Any:
        with lock:
            return {"views": text_views(compressors, asked.text, asked.reference)}

    def deleted(asked: DeletionsAsked) -> Any:
        with lock:
            return deletions(compressors, asked.text, asked.place)

    def colliding(asked: CollisionsAsked) -> Any:
        with lock:
            return collisions(holdings.compressor(asked.compressor), asked.segment)

    ask("/views", ViewsAsked, views)
    ask("/deletions", DeletionsAsked, deleted)
    ask("/collisions", CollisionsAsked, colliding)


def _ask_of_models(ask: _Ask, holdings: Holdings) -> None:
    def read(asked: ReadingAsked, model: InspectedModel, reading: Reading) -> Any:
        return what_is_read(reading, asked.text)

    def surprising(asked: ReadingAsked, model: InspectedModel, reading: Reading) -> Any:
        return surprisal(model, reading, asked.text)

    def following(asked: ReadingAsked, model: InspectedModel, reading: Reading) -> Any:
        return {"next": next_symbols(model, reading, asked.text)}

    def following_exactly(asked: ReadingAsked, model: InspectedModel, reading: Reading) -> Any:
        return {"next": exact_next_bytes(model, reading, asked.text)}

    def continued(asked: ContinuationAsked, model: InspectedModel, reading: Reading) -> Any:
        return {"bytes": continuation(model, reading, asked.text, asked.num_bytes)}

    def drafted(asked: DraftsAsked, model: InspectedModel, reading: Reading) -> Any:
        drafter, num_bytes = asked.drafter, asked.num_bytes
        found = draft_passes(model, reading, asked.text, drafter=drafter, num_bytes=num_bytes)
        return {"passes": found}

    ask("/read", ReadingAsked, partial(_of_model, holdings, read))
    ask("/surprisal", ReadingAsked, partial(_of_model, holdings, surprising))
    ask("/next", ReadingAsked, partial(_of_model, holdings, following))
    ask("/exact-next", ReadingAsked, partial(_of_model, holdings, following_exactly))
    ask("/continuation", ContinuationAsked, partial(_of_model, holdings, continued))
    ask("/drafts", DraftsAsked, partial(_of_model, holdings, drafted))


def _of_model(
    holdings: Holdings, answer: Callable[[Any, InspectedModel, Reading], Any], asked: ReadingAsked
) -> Any:
    """An answer by the model and reading that are asked for; the model answers one at a time."""
    model = holdings.model(asked.model)
    reading = model.reading(asked.read_as)
    with model.lock:
        return answer(asked, model, reading)


def _ask_of_contexts(ask: _Ask, holdings: Holdings) -> None:
    contexts = PackedContexts()

    def context(asked: ContextAsked) -> Any:
        attention = None
        if asked.model is not None:
            attention = holdings.model(asked.model).model.config.attention
        chosen = asked.model_dump(exclude={"store", "model"})
        return contexts.context(holdings.store(asked.store), attention=attention, **chosen)

    ask("/context", ContextAsked, context)


def _json(content: Any) -> Response:
    """JSON, bytes in it as base64."""
    return Response(to_json(content, bytes_mode="base64"), media_type="application/json")
