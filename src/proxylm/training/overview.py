"""Runs at a glance: how far each run of a folder is, as its own files say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from proxylm.checkpoints.checkpoint import CHECKPOINTS_FOLDER, checkpoint_folders, step_of
from proxylm.checkpoints.run_data import CONFIG_FILE, read_run_config
from proxylm.config import validate_config
from proxylm.errors import UsageError
from proxylm.training.config import TrainingConfig
from proxylm.training.metrics import METRICS_FILE, recent_records


@dataclass(frozen=True, kw_only=True)
class RunOverview:
    """One run; what its files do not say is None.

    Attributes:
        run: its folder.
        step, total_steps: updates made, and in the whole run.
        loss: of the last update, nats per symbol.
        held_out: last bits per raw byte, by the format that documents were read in.
        symbols, raw_bytes, training_flops, seconds: so far.
        symbols_per_second, mfu: of the last update.
        checkpoints: steps of the checkpoints that stay, newest first.
        written_at: when its metrics were last written to.
    """

    run: str
    step: int
    total_steps: int | None
    loss: float | None
    held_out: dict[str, float]
    symbols: int | None
    raw_bytes: int | None
    training_flops: float | None
    seconds: float | None
    symbols_per_second: float | None
    mfu: float | None
    checkpoints: list[int]
    written_at: datetime | None

    @property
    def is_done(self) -> bool:
        """Whether all of its updates are made."""
        return self.total_steps is not None and self.step >= self.total_steps

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        at = None if self.written_at is None else self.written_at.isoformat(timespec="seconds")
        return asdict(self) | {"written_at": at, "done": self.is_done}


def overview_of(run: Path) -> RunOverview:
    """How far a run is.

    Raises:
        UsageError: the folder is no run.
        DamagedFileError: its configuration or its metrics cannot be read.
    """
    if not (run / CONFIG_FILE).is_file():
        raise UsageError(f"{run}: is no run (no {CONFIG_FILE})")
    metrics = run / METRICS_FILE
    has_metrics = metrics.is_file()
    last = next(recent_records(metrics), {}) if has_metrics else {}
    written = metrics.stat().st_mtime if has_metrics else None
    kept = checkpoint_folders(run / CHECKPOINTS_FOLDER)
    numbers = ("loss", "symbols", "raw_bytes", "training_flops", "seconds")
    return RunOverview(
        run=str(run),
        step=last.get("step", 0),
        total_steps=_total_steps(read_run_config(run)),
        held_out=_last_held_out(metrics) if has_metrics else {},
        checkpoints=[step_of(folder) for folder in kept],
        written_at=None if written is None else datetime.fromtimestamp(written, tz=UTC),
        **{name: last.get(name) for name in (*numbers, "symbols_per_second", "mfu")},
    )


def runs_below(folder: Path) -> Iterator[Path]:
    """The runs in a folder and in the folders below it, in the order of their names.

    What is inside a run is not looked at.
    """
    if (folder / CONFIG_FILE).is_file():
        yield folder
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from runs_below(path)


def _total_steps(config: dict[str, Any]) -> int | None:
    if isinstance(config.get("steps"), int):  # a run of objects says how many batches it was given
        return int(config["steps"])
    try:
        return validate_config(TrainingConfig, config).total_steps
    except UsageError:  # a later version may know more
        return None


def _last_held_out(metrics: Path) -> dict[str, float]:
    records = recent_records(metrics)
    return next((record["held_out"] for record in records if record.get("held_out")), {})
