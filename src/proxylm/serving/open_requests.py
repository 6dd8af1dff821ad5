"""A bound on the requests that are open at once, so that their bodies together have one too."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from proxylm.serving.api_errors import too_many_requests


class OpenRequests:
    """An ASGI layer that answers 503, without reading the body, beyond ``most`` open requests.

    Only one path is counted and refused: whether the server is well can always be asked.
    """

    def __init__(self, app: ASGIApp, *, path: str, most: int) -> None:
        self._app = app
        self._path = path
        self._most = most
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, if there is room."""
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        if self._open >= self._most:
            await too_many_requests().response()(scope, receive, send)
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1
