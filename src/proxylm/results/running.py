"""Running an experiment: whatever is not there is made, and its record is written as it grows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proxylm.progress import TellCount, untold
from proxylm.recipes.artifacts import Artifact, Say, with_needs
from proxylm.recipes.engine import interrupted_by_sigterm, make_all
from proxylm.recipes.measures import EvaluationData
from proxylm.results.experiment import Experiment
from proxylm.results.grid import GridWork
from proxylm.results.points import Inputs, Points
from proxylm.results.record import ResultRecord, record_of, write_record


@dataclass(frozen=True, kw_only=True)
class Running:
    """An experiment on this machine.

    Attributes:
        name: of the experiment, or its file.
        experiment: it.
        inputs: files and folders of the user's.
        data: evaluation data of the user's.
        pool: the folder of everything that is made.
    """

    name: str
    experiment: Experiment
    inputs: Inputs
    data: EvaluationData
    pool: Path

    def points(self) -> Points:
        """What is wanted, as far as it is known now.

        Raises:
            UsageError: a value does not fit.
        """
        return self.experiment.work.points(self.inputs, self.data, self.pool)

    def planned(self) -> tuple[Points, list[Artifact]]:
        """What is known now, and all that there will be to make: where peaks are still to be
        chosen, any stand for them.

        Raises:
            UsageError: a value does not fit.
        """
        points, work = self.points(), self.experiment.work
        if points.is_all or not isinstance(work, GridWork):
            return points, points.artifacts()
        assumed = work.with_peaks_assumed().points(self.inputs, self.data, self.pool)
        return points, with_needs([*points.artifacts(), *assumed.artifacts()])

    def record(self) -> ResultRecord:
        """What there is."""
        return record_of(self.name, self.experiment, self.points(), self.pool)

    def run(
        self, results: Path, *, jobs: int, say: Say, progress: TellCount = untold
    ) -> ResultRecord:
        """Make what is missing; the record is written whenever something is finished.

        Args:
            results: the folder of records.
            jobs: how much is made at a time.
            say: hears what is begun.
            progress: hears how much of all is there.

        Raises:
            ProxylmError: something cannot be made.
        """

        def write() -> None:
            record = self.record()
            if record.observations or record.sweep:
                write_record(record, results)

        before = -1
        with interrupted_by_sigterm():
            while len(artifacts := self.points().artifacts()) > before:
                make_all(artifacts, self.pool, jobs=jobs, say=say, made=write, progress=progress)
                before = len(artifacts)
        write()
        return self.record()
