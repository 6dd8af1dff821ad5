"""Metrics of a run: one JSON line per step in ``metrics.jsonl``.

The file is appended to, a line at a time. When a run goes on from a checkpoint, lines after that
step, and a last line that a kill tore, are dropped, so no step is there twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from proxylm.errors import DamagedFileError, DataError
from proxylm.files import atomic_file
from proxylm.json_lines import json_line
from proxylm.training.callbacks import Callback, Record
from proxylm.training.run_folder import flat

if TYPE_CHECKING:
    from proxylm.training.training_run import TrainingRun

METRICS_FILE = "metrics.jsonl"
_BYTES_AT_ONCE = 1 << 20


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


def recent_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a metrics file from the last one on, however long it is; a torn one apart.

    Raises:
        DamagedFileError: another line than the last is no record.
    """
    with path.open("rb") as stream:
        end, rest = stream.seek(0, os.SEEK_END), b""
        is_last = True
        while end:
            start = max(0, end - _BYTES_AT_ONCE)
            stream.seek(start)
            rest, *lines = (stream.read(end - start) + rest).split(b"\n")
            # What stands after the file's last line end is nothing, or torn.
            for line in reversed(lines[:-1] if is_last else lines):
                yield _record(path, line)
            end, is_last = start, is_last and not lines
        if not is_last:
            yield _record(path, rest)


def _record(path: Path, line: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        record = json.loads(line)
        if isinstance(record, dict):
            return record
    raise DamagedFileError(f"{path}: not a record: {line[:40]!r}; was it edited?")


def numbers_of(record: Record) -> dict[str, float]:
    """The numbers of a record by their names, inner ones after a slash; the step apart.

    >>> numbers_of({"step": 1, "loss": 2.0, "held_out": {"raw": 3.0}, "words": "many"})
    {'loss': 2.0, 'held_out/raw': 3.0}
    """
    return {
        name: value
        for name, value in flat(record, "/")
        if isinstance(value, int | float) and name != "step"
    }


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
