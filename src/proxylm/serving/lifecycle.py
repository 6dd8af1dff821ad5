"""The life of a server process: listen, serve, drain on SIGTERM, stop.

The first SIGTERM or SIGINT drains: new requests are answered 503, those that run go on until they
are done or ``drain_seconds`` are over, and then the process ends with status 0. A second signal
ends what runs after the forward pass that it is in. When nothing can be decoded any more, the
process ends by itself, with an error.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from proxylm.errors import ProxylmError, UsageError
from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.proposals import ONE_BYTE, Proposals
from proxylm.serving.app import Service, create_app
from proxylm.serving.connection import connection_class
from proxylm.serving.limits import ServingLimits
from proxylm.serving.metrics import ServingMetrics
from proxylm.serving.scheduler import Scheduler

_CLOSING_SECONDS = 2
"""How long answers that are complete, or were just ended, may take to leave."""
_LAST_PASS_SECONDS = 60
"""How long the pass that runs when decoding is stopped may take until its requests are told."""
_BACKLOG = 128


class DecodingError(ProxylmError):
    """The model cannot be decoded any more, so the server ended by itself."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        UsageError: the address is not this machine's, or the port is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot listen on --host {host} --port {port}: {reason}") from None


def serve(
    model: ByteModel,
    listening: socket.socket,
    *,
    name: str,
    limits: ServingLimits,
    proposals: Proposals = ONE_BYTE,
    api_key: str | None = None,
    on_ready: Callable[[], None],
) -> None:
    """Answer requests until a signal says to stop (method, section 7, over HTTP).

    Args:
        model: what completes.
        listening: from ``listen``; closed in the end.
        name: the model's name for clients.
        limits: on requests, memory and time.
        proposals: how many bytes a forward pass may yield; the bytes do not depend on it.
        api_key: asked for under ``/v1``; None: nobody is asked.
        on_ready: called once requests are answered.

    Raises:
        UsageError: the model's vocabulary has no bytes.
        DecodingError: after a failure no decoder could be made any more.
    """
    model.config.require_raw_bytes()
    metrics = ServingMetrics()

    def make_decoder() -> BatchDecoder:
        return BatchDecoder(model.module, max_rows=limits.max_rows, proposals=proposals)

    with Scheduler(make_decoder, limits=limits, metrics=metrics) as scheduler:
        service = Service(
            name=name,
            model=model.module,
            scheduler=scheduler,
            limits=limits,
            metrics=metrics,
            api_key=api_key,
        )
        config = uvicorn.Config(
            create_app(service),
            http=connection_class(limits.client_seconds),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # what clients do wrong is answered and counted, not logged
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_CLOSING_SECONDS,
        )
        server = _DrainingServer(config, scheduler, limits.drain_seconds, on_ready)
        server.run(sockets=[listening])
        if scheduler.failure is not None:
            raise DecodingError("the server ended: decoding failed for good; its log says why")


class _DrainingServer(uvicorn.Server):
    """uvicorn's server with two-stage signals; it looks at them ten times a second."""

    def __init__(
        self,
        config: uvicorn.Config,
        scheduler: Scheduler,
        drain_seconds: float,
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._scheduler = scheduler
        self._drain_seconds = drain_seconds
        self._on_ready = on_ready
        self._signals = 0
        self._drain_until: float | None = None
        self._stop_until: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say when it is ready."""
        await super().startup(sockets)
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Only count: this runs between any two instructions of the event loop."""
        self._signals += 1

    async def on_tick(self, counter: int) -> bool:
        """Whether the time to end has come."""
        if await super().on_tick(counter) or self._scheduler.ended:
            return True  # what ran has its error, and leaves like any answer
        now = time.monotonic()
        if self._stop_until is not None:
            return now > self._stop_until
        if self._drain_until is None:
            if self._signals:
                self._scheduler.drain()
                self._drain_until = now + self._drain_seconds
            return False
        if self._signals > 1 or now > self._drain_until:
            self._scheduler.stop()
            self._stop_until = now + _LAST_PASS_SECONDS
            return False
        return not self.server_state.tasks
