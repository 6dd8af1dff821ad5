"""TensorBoard's event files, written in place and at once.

The library's own writer works in a thread: on a full disk that thread dies with a traceback and
the trainer never hears of it. Here a failed write is an error of the step that made it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from proxylm.files import named_write

FILE_VERSION = "brain.Event:2"


class EventFile:
    """One new event file in ``folder``; readers drop what older ones say after ``kept_step``."""

    def __init__(self, folder: Path, *, kept_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Readers take files in the order of their names.
        started = f"{time.time():020.9f}"
        path = folder / f"events.out.tfevents.{started}.{socket.gethostname()}"
        # Unbuffered: after a failed write nothing is left that closing would try again.
        self._stream: BinaryIO = path.open("xb", buffering=0)
        self._records = RecordWriter(self._stream)
        restart = SessionLog(status=SessionLog.START)
        with named_write(path):
            self._write(Event(wall_time=time.time(), file_version=FILE_VERSION))
            self._write(Event(wall_time=time.time(), step=kept_step + 1, session_log=restart))

    def write(self, step: int, numbers: Iterable[tuple[str, float]]) -> None:
        """Append the scalars of one step."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Close the file; everything is written already."""
        self._stream.close()

    def _write(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
