"""The life of the page's server: until Ctrl-C or SIGTERM, on this machine's own address alone."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from proxylm.inspector.app import create_app
from proxylm.inspector.holdings import Holdings
from proxylm.serving.lifecycle import server_config

_CLIENT_SECONDS = 30.0


def serve_page(
    holdings: Holdings, listening: socket.socket, *, on_ready: Callable[[], None]
) -> None:
    """Answer the page's requests until a signal says to stop.

    Args:
        holdings: what can be looked at.
        listening: from ``serving.lifecycle.listen``; closed in the end.
        on_ready: called once requests are answered.
    """
    config = server_config(create_app(holdings), _CLIENT_SECONDS)
    _PageServer(config, on_ready).run(sockets=[listening])


class _PageServer(uvicorn.Server):
    """uvicorn's server; a signal ends it, and is no error."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second signal leaves at once whoever is still being answered."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def main_loop(self) -> None:
        """Tell that requests are answered, and answer them."""
        self._on_ready()
        await super().main_loop()
