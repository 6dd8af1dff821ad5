"""The life of a server process: listen, serve, drain on SIGTERM, stop.

The first SIGTERM or SIGINT drains: new requests are answered 503, those that run go on until they
are done or ``drain_seconds`` are over, and then the process ends with status 0. A second signal
ends what runs after the forward pass that it is in. When nothing can be decoded any more, the
process ends by itself, with an error.
"""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from proxylm.errors import ProxylmError, UsageError
from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.drafts import Drafter
from proxylm.generation.prefill import PrefillPace
from proxylm.generation.prefix_memory import PrefixMemory
from proxylm.serving.app import create_app
from proxylm.serving.chat_template import ChatTemplate
from proxylm.serving.connection import connection_class
from proxylm.serving.limits import ServingLimits
from proxylm.serving.metrics import PrefixMetrics, ServingMetrics
from proxylm.serving.scheduler import Scheduler
from proxylm.serving.service import ServedReading, Service

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
        raise UsageError(f"cannot listen on {host}, --port {port}: {reason}") from None


def server_config(app: ASGIApp, client_seconds: float) -> uvicorn.Config:
    """How an application is served over HTTP; ``client_seconds`` as in ``connection_class``."""
    return uvicorn.Config(
        app,
        http=connection_class(client_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # what clients do wrong is answered and counted, not logged
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_CLOSING_SECONDS,
    )


def serve(
    model: ByteModel,
    listening: socket.socket,
    *,
    name: str,
    limits: ServingLimits,
    reading: ServedReading | None = None,
    other_readings: Sequence[ServedReading] = (),
    chat_template: ChatTemplate | None = None,
    drafter: Drafter | None = None,
    api_key: str | None = None,
    on_ready: Callable[[], None],
) -> None:
    """Answer requests until a signal says to stop (method, section 7, over HTTP).

    Args:
        model: what completes.
        listening: from ``listen``; closed in the end.
        name: the model's name for clients.
        limits: on requests, memory and time.
        reading: how prompts are read; None: as the model does.
        other_readings: further ways that a request can name.
        chat_template: for conversations; None: there are none.
        drafter: drafts several bytes per forward pass; None: one byte per pass.
        api_key: asked for under ``/v1``; None: nobody is asked.
        on_ready: called once requests are answered.

    Raises:
        UsageError: the model's vocabulary has no bytes.
        DecodingError: after a failure no decoder could be made any more.
    """
    model.config.require_raw_bytes()
    metrics = ServingMetrics()
    prefixes = PrefixMemory(limits.max_prefix_bytes)
    metrics.registry.register(PrefixMetrics(prefixes))
    make_decoder = partial(
        BatchDecoder,
        model.module,
        max_rows=limits.max_rows,
        prefixes=prefixes if limits.max_prefix_bytes else None,
        pace=PrefillPace(),
    )
    with Scheduler(make_decoder, limits=limits, metrics=metrics) as scheduler:
        service = Service(
            name=name,
            scheduler=scheduler,
            limits=limits,
            metrics=metrics,
            reading=model.reading if reading is None else reading,
            other_readings=other_readings,
            chat_template=chat_template,
            drafter=drafter,
            api_key=api_key,
        )
        config = server_config(create_app(service), limits.client_seconds)
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

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Only count: this runs between any two instructions of the event loop."""
        self._signals += 1

    async def main_loop(self) -> None:
        """From the first request to the last answer, in the stages that the signals divide."""
        self._on_ready()
        await self._until(lambda: self._signals > 0)
        self._scheduler.drain()
        await self._until(
            lambda: self._signals > 1 or not self.server_state.tasks, self._drain_seconds
        )
        self._scheduler.stop()
        # Until the thread has ended: what ran has its error then, and leaves like any answer.
        await self._until(lambda: False, _LAST_PASS_SECONDS)

    async def _until(self, over: Callable[[], bool], seconds: float = math.inf) -> None:
        """Serve until ``over()``, or so long, or until nothing is decoded any more."""
        end = time.monotonic() + seconds
        while not (over() or self._scheduler.ended or time.monotonic() > end):
            await self.on_tick(0)  # uvicorn's own: the date of the answers
            await asyncio.sleep(0.1)
