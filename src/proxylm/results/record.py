"""What is kept of an experiment: one small JSON file, from which the page is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proxylm.errors import DamagedFileError
from proxylm.files import read_json, write_json
from proxylm.recipes.engine import CPU_SECONDS, MADE_BY
from proxylm.results.experiment import Experiment
from proxylm.results.points import Label, Point, Points

SUFFIX = ".json"
SECONDS_PER_HOUR = 3600
_LISTS = ("observations", "sweep")


@dataclass(frozen=True)
class Observation:
    """A point that was measured.

    Attributes:
        labels: what tells it apart.
        numbers: those that there are.
    """

    labels: dict[str, Label]
    numbers: dict[str, float]

    def has(self, labels: Mapping[str, Label]) -> bool:
        """Whether it has all of these labels."""
        return all(self.labels.get(name) == value for name, value in labels.items())

    def place(self, name: str) -> float:
        """A number, or a label that is one; 0 where it has none of that name."""
        value = self.numbers.get(name, self.labels.get(name, 0))
        return value if isinstance(value, int | float) else 0


@dataclass(frozen=True, kw_only=True)
class ResultRecord:
    """What there is of an experiment.

    Attributes:
        experiment: its name, or its file.
        configuration: what was made, in the keys of its file, without how it is told.
        made_by: versions of proxylm.
        core_hours: what everything took.
        wanted: points in all; None where that is not known yet.
        observations: those that there are.
        sweep: those that chose something.
        chosen: what they chose.
    """

    experiment: str
    configuration: dict[str, Any]
    made_by: tuple[str, ...]
    core_hours: float
    wanted: int | None
    observations: tuple[Observation, ...]
    sweep: tuple[Observation, ...]
    chosen: dict[str, float]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return len(self.observations) == self.wanted


def record_of(name: str, experiment: Experiment, points: Points, pool: Path) -> ResultRecord:
    """What there is of an experiment in the pool."""
    records = [one.record(pool) or {} for one in points.artifacts()]
    seconds = sum(one.get(CPU_SECONDS, 0.0) for one in records)
    return ResultRecord(
        experiment=name,
        configuration=experiment.work.model_dump(mode="json", exclude_unset=True),
        made_by=tuple(sorted({one[MADE_BY] for one in records if MADE_BY in one})),
        core_hours=round(seconds / SECONDS_PER_HOUR, 5),
        wanted=len(points.points) if points.is_all else None,
        observations=_observed(points.points, pool),
        sweep=_observed(points.sweep, pool),
        chosen=points.chosen,
    )


def write_record(record: ResultRecord, folder: Path) -> Path:
    """Write it into a folder of such; returns the file."""
    path = folder / f"{Path(record.experiment).stem}{SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(record))
    return path


def read_record(path: Path) -> ResultRecord:
    """A record from its file.

    Raises:
        DamagedFileError: the file is no such.
    """
    values = read_json(path)
    try:
        lists = {name: tuple(Observation(**one) for one in values[name]) for name in _LISTS}
        record: ResultRecord = ResultRecord(**(values | lists))
    except (KeyError, TypeError):
        raise DamagedFileError(f"{path}: is no result of 'proxylm results run'") from None
    return record


def _observed(points: Iterable[Point], pool: Path) -> tuple[Observation, ...]:
    found = []
    for point in points:
        values = {name: number.value(pool)[0] for name, number in point.numbers.items()}
        numbers = {name: value for name, value in values.items() if value is not None}
        if numbers:
            known = {**point.constants, **numbers}
            rounded = {name: _rounded(value) for name, value in known.items()}
            found.append(Observation(point.labels, rounded))
    return tuple(found)


def _rounded(value: float) -> float:
    """Six digits: more than any of these measures tells."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
