"""TensorBoard's event files, written in place and at once; only where TensorBoard is installed.

The library's own writer works in a thread: on a full disk that thread dies with a traceback and
the trainer never hears of it. Here a failed write is an error of the step that made it.
"""

from __future__ import annotations

import logging
import socket
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO

from proxylm.files import named_write
from proxylm.training.callbacks import Callback, Record
from proxylm.training.metrics import numbers_of, unwritable_as_data_error

if TYPE_CHECKING:
    from proxylm.training.training_run import TrainingRun

logger = logging.getLogger(__name__)

TENSORBOARD_FOLDER = "tensorboard"
FILE_VERSION = "brain.Event:2"


class TensorBoard(Callback):
    """Writes the numbers of the records to a new event file at every start.

    Readers drop what older files say after the step that the run went on from.
    """

    _stream: BinaryIO

    @classmethod
    def if_installed(cls) -> list[Callback]:
        """One of these; none, which is said, where the extra is not installed."""
        if find_spec("tensorboard"):
            return [cls()]
        logger.info("no event files: pip install 'proxylm[tensorboard]' gives them")
        return []

    def on_start(self, run: TrainingRun) -> None:
        """Open the file."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        assert run.folder is not None, "a run without a folder has no event files"
        folder = run.folder / TENSORBOARD_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        # Readers take files in the order of their names.
        started = f"{time.time():020.9f}"
        self._path = folder / f"events.out.tfevents.{started}.{socket.gethostname()}"
        # Unbuffered: after a failed write nothing is left that closing would try again.
        self._stream = self._path.open("xb", buffering=0)
        self._records = RecordWriter(self._stream)
        restart = SessionLog(status=SessionLog.START)
        with named_write(self._path):
            self._write(Event(wall_time=time.time(), file_version=FILE_VERSION))
            self._write(Event(wall_time=time.time(), step=run.step + 1, session_log=restart))

    def on_step(self, run: TrainingRun, record: Record) -> None:
        """Append the numbers of one step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in numbers_of(record).items()
        ]
        event = Event(wall_time=time.time(), step=record["step"], summary=Summary(value=values))
        with unwritable_as_data_error(self._path):
            self._write(event)

    def on_end(self, run: TrainingRun) -> None:
        """Close the file; everything is written already."""
        self._stream.close()

    def _write(self, event: Any) -> None:
        self._records.write(event.SerializeToString())
