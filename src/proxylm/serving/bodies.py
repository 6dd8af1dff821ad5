"""The JSON bodies of requests, within limits."""

from __future__ import annotations

import asyncio

from fastapi import Request

from proxylm.serving.api_errors import ApiError, too_many_requests

_JSON = "application/json"
"""The one type of a request's body: what a web page can send to a server on this machine without
asking the browser for leave has other types."""


async def read_json_body(
    request: Request, *, max_bytes: int, open_bodies: asyncio.Semaphore
) -> bytes:
    """A request's JSON body, within the limits of each and of all together.

    Args:
        request: sends it.
        max_bytes: its largest size.
        open_bodies: held while it is read.

    Raises:
        ApiError: 413 for one beyond the limit (said before it is read, where its length is
            given), 415 for another content type, 503 where too many are being read.
        ClientDisconnect: the client left before it was sent.
    """
    too_large = ApiError(413, f"the body is larger than {max_bytes} bytes", code="body_too_large")
    # More digits than any length that is meant; int() would refuse thousands of them.
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > max_bytes):
        raise too_large
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != _JSON:
        raise ApiError(415, f"content-type: must be {_JSON}", param="content-type")
    if open_bodies.locked():
        raise too_many_requests()
    body = bytearray()
    async with open_bodies:
        async for received in request.stream():
            body += received
            if len(body) > max_bytes:
                raise too_large
    return bytes(body)
