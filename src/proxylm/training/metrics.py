"""Metrics of a run: one JSON line per step in ``metrics.jsonl``.

The file is appended to, a line at a time. When a run goes on from a checkpoint, lines after that
step, and a last line that a kill tore, are dropped, so no step is there twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from proxylm.errors import DataError
from proxylm.files import atomic_file
from proxylm.json_lines import json_line
from proxylm.training.callbacks import Callback, Record

if TYPE_CHECKING:
    from proxylm.training.training_run import TrainingRun

METRICS_FILE = "metrics.jsonl"


class MetricsLog(Callback):
    """Writes the records of a run with a folder."""

    _lines: BinaryIO

    def on_start(self, run: TrainingRun) -> None:
        """Open the file, cut back to the steps that the run has."""
        assert run.folder is not None, "a run without a folder has no file of metrics"
        path = run.folder / METRICS_FILE
        keep_until(path, run.step)
        # Unbuffered: after a failed write nothing is left that closing would try again.
        self._lines = path.open("ab", buffering=0)

    def on_step(self, run: TrainingRun, record: Record) -> None:
        """Append one step; ``record["step"]`` counts updates made, from 1."""
        data = f"{json_line(record)}\n".encode()
        with unwritable_as_data_error(Path(self._lines.name)):
            while data:
                data = data[self._lines.write(data) :]

    def sync(self) -> None:
        """Flush to the disk."""
        os.fsync(self._lines.fileno())

    def on_end(self, run: TrainingRun) -> None:
        """Close the file; everything is written already."""
        self._lines.close()


@contextmanager
def unwritable_as_data_error(path: Path) -> Iterator[None]:
    """Within, a failed write of a step's numbers is one line that says how to go on.

    Raises:
        DataError: naming the file.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); free some space and run the same "
            "command again: it goes on from the newest checkpoint, if there is one"
        ) from None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics file in order; a torn last line is left out."""
    return [record for _, record in _whole_lines(path)]


def keep_until(path: Path, last_step: int) -> None:
    """Drop what stands after ``last_step`` in a metrics file, and a torn last line."""
    if not path.exists():
        return
    kept = b"".join(line for line, record in _whole_lines(path) if record["step"] <= last_step)
    if len(kept) != path.stat().st_size:
        with atomic_file(path) as temporary:
            temporary.write_bytes(kept)


def _whole_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                return
            try:
                yield line, json.loads(line)
            except ValueError:
                # A kill or a full disk can tear a line only at the end of what was written.
                return
