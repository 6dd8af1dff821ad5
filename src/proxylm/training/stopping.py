"""Stopping by a signal: the step under way is finished, then the run is saved and left."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signal(ask: Callable[[str], None]) -> Iterator[None]:
    """Within, the first SIGINT or SIGTERM calls ``ask`` with its name; a second one acts as ever.

    Outside the main thread signals cannot be caught, and nobody is asked.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        ask(signal.Signals(number).name)
        restore()

    for number in STOP_SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
