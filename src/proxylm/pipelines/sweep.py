"""A grid of runs around configurations: which peak learning rate suits a representation (C.2).

Every point of the grid is an ordinary run, in ``OUT/CONFIGURATION/POINT``; it goes on where it was
stopped, and one that is finished is only read. ``sweep.json`` has what is known so far. A run that
diverges is a result too: it is kept in ``sweep.json`` and not tried again.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxylm.checkpoints.checkpoint import Checkpoint, newest_valid
from proxylm.config import load_config
from proxylm.errors import CheckpointError, UsageError
from proxylm.files import read_json, require_utf8, write_json
from proxylm.fingerprint import fingerprint_of
from proxylm.training.callbacks import AnyCallback
from proxylm.training.config import TrainingConfig
from proxylm.training.loop import TrainingDivergedError
from proxylm.training.run import train
from proxylm.yaml_text import parse_value

SWEEP_FILE = "sweep.json"
LONGEST_NAME = 120

Row = dict[str, Any]
"""One point: ``configuration``, ``point`` (key to value), ``run``, and what came of it."""

Say = Callable[[str], None]
"""Hears what is going on, a line at a time."""

_NO_FILE_NAME = re.compile(r"[^A-Za-z0-9._=+-]+")


@dataclass(frozen=True)
class Axis:
    """The values that one key takes.

    Attributes:
        key: a place in the configuration, with dots between.
        values: plain ones, at least one.
    """

    key: str
    values: tuple[Any, ...]

    @classmethod
    def parse(cls, text: str) -> Axis:
        """``key.sub=value,value``; the values are read as in a YAML list.

        >>> Axis.parse("learning_rate.peak=1e-3,2e-3")
        Axis(key='learning_rate.peak', values=(0.001, 0.002))

        Raises:
            UsageError: it has not this form, or a value twice.
        """
        key, equals, listed = text.partition("=")
        if not equals or not key or not listed.strip():
            raise UsageError(f"--grid '{text}': expected key.sub=value,value")
        values = parse_value(f"[{listed}]", origin=f"--grid '{text}'")
        if len({json.dumps(value) for value in values}) < len(values):
            raise UsageError(f"--grid '{text}': a value is given twice")
        return cls(key, tuple(values))


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run of a sweep.

    Attributes:
        configuration: the file or shipped name that it starts from.
        values: of the grid, by key.
        folder: of the run, below the sweep's.
        config: the run.
    """

    configuration: str
    values: Mapping[str, Any]
    folder: str
    config: TrainingConfig

    @property
    def row(self) -> Row:
        """What is known before it is run."""
        return {
            "configuration": self.configuration,
            "point": dict(self.values),
            "run": self.folder,
            "hash": self.config.hash(),
        }


def points_of(
    configurations: Sequence[Path], axes: Sequence[Axis], overrides: Sequence[str] = ()
) -> list[Point]:
    """Every configuration with every combination of values, all of them validated.

    Args:
        configurations: files or shipped names, at least one.
        axes: the grid; at least one.
        overrides: ``key.sub=value`` for every point, below the grid's values.

    Raises:
        UsageError: a point is no valid run, has nothing to compare, or two have one folder.
    """
    if not configurations or not axes:
        raise UsageError("sweep: name a configuration and a --grid of values")
    combinations = list(itertools.product(*(axis.values for axis in axes)))
    keys = [axis.key for axis in axes]
    points = [
        _point(name, dict(zip(keys, values, strict=True)), overrides)
        for name in configurations
        for values in combinations
    ]
    folders = [point.folder for point in points]
    if len(set(folders)) < len(folders) or len(set(keys)) < len(keys):
        raise UsageError("sweep: a configuration or a key is named twice")
    return points


def sweep(
    points: Sequence[Point],
    out: Path,
    say: Say = lambda _: None,
    callbacks: Callable[[], Sequence[AnyCallback]] = list,
) -> list[Row]:
    """Run what is not finished yet; a row for each point, in order.

    Args:
        points: ``points_of``.
        out: the sweep's folder; new, empty, or of an earlier call.
        say: hears about progress.
        callbacks: makes those of one run.

    Raises:
        UsageError: ``out`` is of something else, or a run there has another configuration.
        ProxylmError: what ``train`` raises, but for a run that diverges.
        KeyboardInterrupt: a signal came; the step under way was finished and saved.
    """
    path = out / SWEEP_FILE
    known = _opened(out)
    diverged = {row["hash"]: row for row in known if "diverged" in row}
    rows: list[Row] = []
    for number, point in enumerate(points, start=1):
        say(f"sweep: run {number} of {len(points)}, {point.folder}")
        row = point.row
        rows.append(
            diverged.get(row["hash"]) or row | _result(point, out / point.folder, callbacks)
        )
        # Runs of another grid in the same folder stay known.
        here = {row["run"] for row in rows}
        write_json(path, {"rows": [*rows, *(one for one in known if one["run"] not in here)]})
    return rows


def best_rows(rows: Iterable[Row]) -> dict[tuple[str, str], Row]:
    """The row of the fewest held-out bits, by configuration and what was read."""
    best: dict[tuple[str, str], Row] = {}
    for row in rows:
        for read_as, bits in row.get("held_out", {}).items():
            key = (row["configuration"], read_as)
            if key not in best or bits < best[key]["held_out"][read_as]:
                best[key] = row
    return best


def _opened(out: Path) -> list[Row]:
    """The rows of a sweep's folder, which is made if it is not there."""
    require_utf8(out)
    path = out / SWEEP_FILE
    if path.is_file():
        rows: list[Row] = read_json(path)["rows"]
        return rows
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: not empty and not of a sweep; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, {"rows": []})
    return []


def _point(name: Path, values: dict[str, Any], overrides: Sequence[str]) -> Point:
    own = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    config = load_config(TrainingConfig, name, [*overrides, *own])
    if config.held_out is None:
        raise UsageError(f"{name}: held_out is null, but a sweep compares held-out bits per byte")
    folder = f"{_file_name(str(name).removesuffix('.yaml'))}/{_file_name(','.join(own))}"
    return Point(configuration=str(name), values=values, folder=folder, config=config)


def _result(
    point: Point, run: Path, callbacks: Callable[[], Sequence[AnyCallback]]
) -> dict[str, Any]:
    finished = _finished(point.config, run)
    if finished is None:
        try:
            train(point.config, run, callbacks())
        except TrainingDivergedError as error:
            return {"diverged": str(error)}
        finished = newest_valid(run)
        if finished is None:
            raise CheckpointError(f"{run}: its checkpoints have been removed meanwhile")
    return finished.state.model_dump(
        include={"step", "symbols", "training_flops", "seconds", "loss", "held_out"}
    )


def _finished(config: TrainingConfig, run: Path) -> Checkpoint | None:
    """The last checkpoint of a run that is whole, without opening its data."""
    checkpoint = newest_valid(run) if run.is_dir() else None
    if checkpoint is None or checkpoint.state.step < config.total_steps:
        return None
    is_same = checkpoint.manifest.origin.configuration_hash == config.hash()
    return checkpoint if is_same else None


def _file_name(text: str) -> str:
    """The text as the name of a folder."""
    name = _NO_FILE_NAME.sub("_", text)
    return name if len(name) <= LONGEST_NAME else f"{name[:100]}-{fingerprint_of(text)[:8]}"
