"""Reading requests' bodies within the server's limits, of each and of all together."""

from __future__ import annotations

from fastapi import Request

from proxylm.serving.api_errors import ApiError, too_many_requests

_JSON = "application/json"


class BodyReader:
    """Reads JSON bodies of at most ``max_bytes``, at most ``max_open`` of them at a time.

    Only ``application/json`` is taken: what a web page can send to a server on this machine
    without asking the browser for leave has other types.
    """

    def __init__(self, *, max_bytes: int, max_open: int) -> None:
        self._max_bytes = max_bytes
        self._max_open = max_open
        self._open = 0

    async def read(self, request: Request) -> bytes:
        """The body.

        Raises:
            ApiError: 413 for one beyond the limit (said before it is read, where its length is
                given), 415 for another content type, 503 where too many are being read.
            ClientDisconnect: the client left before it was sent.
        """
        # More digits than any length that is meant; int() would refuse thousands of them.
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > self._max_bytes):
            raise self._too_large()
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != _JSON:
            raise ApiError(415, f"content-type: must be {_JSON}", param="content-type")
        if self._open >= self._max_open:
            raise too_many_requests()
        self._open += 1
        try:
            return await self._read(request)
        finally:
            self._open -= 1

    async def _read(self, request: Request) -> bytes:
        body = bytearray()
        async for received in request.stream():
            body += received
            if len(body) > self._max_bytes:
                raise self._too_large()
        return bytes(body)

    def _too_large(self) -> ApiError:
        message = f"the body is larger than {self._max_bytes} bytes"
        return ApiError(413, message, code="body_too_large")
