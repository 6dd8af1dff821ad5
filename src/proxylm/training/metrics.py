"""Metrics of a run: one JSON line per step, and the same numbers for TensorBoard.

``metrics.jsonl`` is appended to, a line at a time. When a run goes on from a checkpoint, lines
after that step, and a last line that a kill tore, are dropped, so no step is there twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from proxylm.errors import DataError
from proxylm.files import atomic_file
from proxylm.json_lines import json_line
from proxylm.training.event_file import EventFile

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"


class MetricsLog:
    """Writes the metrics of one run; ``resumed_step`` is the last step that is kept."""

    def __init__(self, run: Path, *, resumed_step: int) -> None:
        keep_until(run / METRICS_FILE, resumed_step)
        self._path = run / METRICS_FILE
        # Unbuffered: after a failed write nothing is left that closing would try again.
        self._lines = self._path.open("ab", buffering=0)
        self._board = EventFile(run / TENSORBOARD_FOLDER, kept_step=resumed_step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._board.close()

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one step; ``record["step"]`` counts updates made, from 1."""
        line = json_line(record) + "\n"
        try:
            self._append(line.encode())
            self._board.write(record["step"], _numbers(record))
        except OSError as error:
            raise DataError(
                f"{self._path}: cannot be written ({error.strerror}); free some space and run the "
                "same command again: it goes on from the newest checkpoint, if there is one"
            ) from None

    def _append(self, data: bytes) -> None:
        while data:
            data = data[self._lines.write(data) :]

    def sync(self) -> None:
        """Flush to the disk; called before a checkpoint vouches for the steps so far."""
        os.fsync(self._lines.fileno())


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


def _numbers(record: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, list):
            yield from _numbers(dict(enumerate(value)), f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "step":
            yield f"{prefix}{name}", value
