"""Reading a request's body within the server's limits."""

from __future__ import annotations

from fastapi import Request

from proxylm.serving.api_errors import ApiError

_JSON = "application/json"


async def read_json_body(request: Request, *, max_bytes: int) -> bytes:
    """The body, never holding more than ``max_bytes`` of it.

    Only ``application/json`` is taken: what a web page can send to a server on this machine
    without asking the browser for leave has other types.

    Raises:
        ApiError: 413 for a body beyond the limit (said before it is read, where its length is
            given), 415 for another content type.
    """
    too_large = ApiError(413, f"the body is larger than {max_bytes} bytes", code="body_too_large")
    declared = request.headers.get("content-length", "")
    # More digits than any length that is meant; int() would refuse thousands of them.
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > max_bytes):
        raise too_large
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != _JSON:
        raise ApiError(415, f"content-type: must be {_JSON}", param="content-type")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > max_bytes:
            raise too_large
    return bytes(body)
