"""Errors as OpenAI's interface gives them: a status, and one object that says what to do.

Every request that is HTTP and does not succeed is answered with ``{"error": {message, type, param,
code}}``, unknown paths and our own mistakes included.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from proxylm.errors import ProxylmError

CLIENT_LEFT = 499
"""Status for the metrics when nobody is there to read an answer (nginx's number)."""
_OVERLOADED = 429


class ApiError(ProxylmError):
    """A request that is answered with an error.

    Attributes:
        status: of the HTTP response.
        param: the request's key that is wrong, if it is one.
        code: a fixed word for programs.
        headers: further headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The response's object (in a stream: the last event's)."""
        error = {
            "message": str(self),
            "type": _error_type(self.status),
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}

    def response(self) -> JSONResponse:
        """The whole answer."""
        return JSONResponse(self.body(), self.status, self.headers)


def overloaded(retry_after_seconds: int) -> ApiError:
    """429: the sequences of a request do not all fit into rows and queue."""
    message = (
        f"not all of it fits into the rows and the queue; try again in {retry_after_seconds} s"
    )
    return _try_again(_OVERLOADED, message, code="overloaded", seconds=retry_after_seconds)


def too_many_requests() -> ApiError:
    """503: the bodies of as many requests as the server takes are being sent."""
    return _try_again(503, "too many requests are open", code="too_many_requests")


def draining() -> ApiError:
    """503: the server is about to stop and takes nothing new."""
    return _try_again(503, "the server is stopping and takes no new requests", code="draining")


def stopped() -> ApiError:
    """503: the request was running or waiting when the server had to stop."""
    return _try_again(503, "the server stopped before the completion was done", code="stopped")


def internal() -> ApiError:
    """500: our own mistake, or a model whose weights are damaged; the log says more."""
    return ApiError(500, "the server failed to complete this; its log says why", code="internal")


def _try_again(status: int, message: str, *, code: str, seconds: int = 1) -> ApiError:
    return ApiError(status, message, code=code, headers={"Retry-After": str(seconds)})


def _error_type(status: int) -> str:
    if status == _OVERLOADED:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"


def install_error_handlers(app: FastAPI) -> None:
    """Every error of the application leaves in the one form."""

    @app.exception_handler(ApiError)
    async def _ours(_: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(HTTPException)
    async def _routing(request: Request, error: HTTPException) -> JSONResponse:
        where = f"{request.method} {request.url.path}"[:200]
        headers = dict(error.headers or {})
        return ApiError(error.status_code, f"{where}: {error.detail}", headers=headers).response()

    @app.exception_handler(ClientDisconnect)
    async def _client_left(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_LEFT)

    @app.exception_handler(Exception)
    async def _mistake(_: Request, error: Exception) -> JSONResponse:
        # Logged with its traceback by the layers around.
        return internal().response()
