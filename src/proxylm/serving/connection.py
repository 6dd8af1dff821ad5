"""One client's connection, with an end to patience in both directions.

uvicorn bounds how long an idle connection stays, and nothing else. Here a client that does not
finish sending a request in time, or leaves what was sent to it unread, is disconnected; to the
application that looks like a client that left, so the rows it holds become free.
"""

from __future__ import annotations

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

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
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wait_for("request")

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self._wait_no_longer("request")
        self._wait_no_longer("reading")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Wait on while a request is incomplete; a timer that runs is not set back."""
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._wait_for("request")
        else:
            self._wait_no_longer("request")

    def pause_writing(self) -> None:
        """The client has not read what was sent: from now on it is timed."""
        super().pause_writing()
        self._wait_for("reading")

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        self._wait_no_longer("reading")

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless another answer has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _wait_for(self, what: str) -> None:
        if what not in self._timers:
            abort = self.transport.abort
            self._timers[what] = self.loop.call_later(self.client_seconds, abort)

    def _wait_no_longer(self, what: str) -> None:
        if what in self._timers:
            self._timers.pop(what).cancel()


def connection_class(client_seconds: float) -> type[PatientConnection]:
    """The protocol that uvicorn makes for every connection."""
    return type("TimedConnection", (PatientConnection,), {"client_seconds": client_seconds})
