"""Who may ask: this machine's own browser, from the page itself and no other.

The page has no password. A web page from anywhere must therefore not reach it through the browser:
neither by its address (``Origin``), nor by a name that is made to mean this machine (DNS
rebinding: then ``Host`` is that name). What is sent may load nothing from elsewhere.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxylm.serving.api_errors import ApiError

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Around an application: foreign requests are refused, answers carry the security headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = refused(Headers(scope=scope))
        answer = self._app if refusal is None else refusal.response()
        await answer(scope, receive, send_guarded)


def refused(headers: Headers) -> ApiError | None:
    """Why a request with these headers is not answered; None if it is.

    >>> refused(Headers({"host": "localhost:8001", "origin": "http://localhost:8001"}))
    >>> refused(Headers({"host": "evil.example:8001"})).status
    403
    """
    host = headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name.lower() not in LOOPBACK_NAMES:
        return ApiError(403, "this page is for http://127.0.0.1 and http://localhost alone")
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{host}".lower():
        return ApiError(403, "another site asks; open this page by its own address")
    return None
