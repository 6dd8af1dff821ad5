"""One client's connection, with an end to patience in both directions.

uvicorn bounds how long an idle connection stays, and nothing else. Here a client that does not
finish sending a request in time, or leaves what was sent to it unread, is disconnected; to the
application that looks like a client that left, so the rows it holds become free.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from proxylm.serving.api_errors import ApiError

_SEND_BUFFER_BYTES = 1 << 16
"""Of a connection: an answer that is not read is noticed after this much, not after megabytes."""


class PatientConnection(H11Protocol):
    """uvicorn's HTTP/1.1 with two more timers; ``client_seconds`` is set by a subclass."""

    client_seconds: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(transport)
        connected = transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._receiving = _Timer(self.loop, self.client_seconds, transport.abort)
        self._sending = _Timer(self.loop, self.client_seconds, transport.abort)
        self._receiving.start()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self._receiving.stop()
        self._sending.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Wait on while a request is incomplete; a timer that runs is not set back."""
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._receiving.start()
        else:
            self._receiving.stop()

    def pause_writing(self) -> None:
        """The client has not read what was sent: from now on it is timed."""
        super().pause_writing()
        self._sending.start()

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        self._sending.stop()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the one form of errors."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        body = json.dumps(ApiError(400, msg, code="malformed_http").body()).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        events: list[h11.Event] = [
            h11.Response(status_code=400, headers=[*headers, ("connection", "close")]),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ]
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def connection_class(client_seconds: float) -> type[PatientConnection]:
    """The protocol that uvicorn makes for every connection."""
    return type("TimedConnection", (PatientConnection,), {"client_seconds": client_seconds})


class _Timer:
    """Calls ``action`` once, unless it is stopped before."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, action: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._action = action
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to wait; nothing changes if it already does."""
        if self._handle is None:
            self._handle = self._loop.call_later(self._seconds, self._action)

    def stop(self) -> None:
        """Wait no longer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
