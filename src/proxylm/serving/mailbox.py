"""From the thread that decodes to the event loop: many events, few wake-ups."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import Any

_of_thread = threading.local()


class Mailbox:
    """Takes what other threads put, and puts it into queues of its event loop, in order.

    To wake a loop costs a system call, and has it compete with the thread that decodes for the
    interpreter: what comes while a delivery is due goes along with it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[asyncio.Queue[Any], Any]] = deque()
        self._due = False

    @classmethod
    def here(cls) -> Mailbox:
        """The one of the event loop that runs in this thread."""
        loop = asyncio.get_running_loop()
        found: Mailbox | None = getattr(_of_thread, "mailbox", None)
        if found is None or found._loop is not loop:
            found = _of_thread.mailbox = cls(loop)
        return found

    def put(self, queue: asyncio.Queue[Any], item: Any) -> None:
        """Have the loop put an item into a queue; from any thread."""
        self._waiting.append((queue, item))
        if not self._due:
            self._due = True
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._due = False  # first: what comes from here on makes a delivery of its own
        while self._waiting:
            queue, item = self._waiting.popleft()
            queue.put_nowait(item)
