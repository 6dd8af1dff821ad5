"""From a recipe and a scale to what has to be made: measurements, and all that they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from proxylm.config import plain_config
from proxylm.errors import DataError, UsageError
from proxylm.recipes.artifacts import (
    REASON,
    Artifact,
    Record,
    Run,
    Say,
    TrainedCompressor,
    compressor_for,
    run_for,
    with_needs,
)
from proxylm.recipes.measures import (
    EvaluationData,
    MeasureChoice,
    MeasuredCompressor,
    MeasuredRun,
)
from proxylm.recipes.recipe import WHOLE_RUN, Recipe
from proxylm.recipes.scale import Measuring, Scale

RESULT = "result"

OWN = "own"
"""In a place: the reading that a model is meant for."""

NOT_MADE = "not measured yet"


@dataclass(frozen=True)
class Measurement(Artifact):
    """One measure of a run's checkpoint or of a compressor.

    Attributes:
        measure: what is measured.
        of: what it is measured of.
        share: of a run's steps.
        data: files of the user's.
        measuring: how much is measured.
    """

    measure: MeasureChoice
    of: Run | TrainedCompressor
    share: float
    data: EvaluationData
    measuring: Measuring

    kind: ClassVar[str] = "measurements"

    @property
    def needs(self) -> tuple[Artifact, ...]:
        """What is measured."""
        return (self.of,)

    def identity(self) -> dict[str, Any]:
        """See the base class; a compressor that needs no training is measured on a corpus, too."""
        values = {
            "measure": plain_config(self.measure),
            "measuring": plain_config(self.measuring),
            "share": self.share,
            "data": {name: self.data.fingerprint(name) for name in self.measure.files},
        }
        if isinstance(self.of, TrainedCompressor):
            values["corpus"] = self.of.corpus.fingerprint
        return values

    def make(self, pool: Path, say: Say) -> Record:
        """See the base class; what is not defined is a reason."""
        found = self.of.record(pool) or {}
        if REASON in found:
            return {REASON: found[REASON]}
        try:
            return {RESULT: self.measure.measure(self._subject(pool))}
        except (UsageError, DataError) as error:
            return {REASON: str(error)}

    def is_settled(self, pool: Path) -> bool:
        """See the base class; what had a reason is tried again: a package may be there now."""
        record = self.record(pool)
        return record is not None and RESULT in record

    def names(self, place: str) -> tuple[str, ...]:
        """The names in a place of its result, with dots between; ``own`` is the run's reading."""
        own = self.of.own_reading if isinstance(self.of, Run) else OWN
        return tuple(own if name == OWN else name for name in place.split("."))

    def _subject(self, pool: Path) -> Any:
        """What its measure takes, whichever it is of."""
        if isinstance(self.of, TrainedCompressor):
            return MeasuredCompressor(trained=self.of, pool=pool, measuring=self.measuring)
        return MeasuredRun(
            run=self.of,
            pool=pool,
            share=self.share,
            data=self.data,
            measuring=self.measuring,
            scratch=self.folder(pool),
        )


def value_at(artifact: Artifact, pool: Path, names: Sequence[str]) -> tuple[Any, str]:
    """The value at a place of an artifact's result, and why there is none: one is empty."""
    value: Any = artifact.record(pool) or {REASON: NOT_MADE}
    for name in (RESULT, *names):
        if isinstance(value, dict) and REASON in value:
            return None, value[REASON]
        value = value.get(name) if isinstance(value, dict) else None
        if value is None:
            return None, "not measured at this scale"
    if isinstance(value, dict) and REASON in value:
        return None, value[REASON]
    return value, ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a recipe comes to at a scale.

    Attributes:
        recipe: it.
        scale: it.
        runs: by row, one for each seed.
        compressors: by row.
        data: files of the user's.
    """

    recipe: Recipe
    scale: Scale
    runs: dict[str, list[Run]]
    compressors: dict[str, TrainedCompressor]
    data: EvaluationData

    def subjects(self, row: str) -> list[Run | TrainedCompressor]:
        """What a row is measured of."""
        compressor = self.compressors.get(row)
        return [*self.runs.get(row, []), *([compressor] if compressor else [])]

    def measurements(self, row: str, name: str, share: float = WHOLE_RUN) -> list[Measurement]:
        """Those of one measure in a row, one for each seed; none where the row has no such."""
        measure = self.recipe.measures[name]
        return [
            Measurement(
                f"{one.name}-{name}-{share:g}",
                measure=measure,
                of=one,
                share=share,
                data=self.data,
                measuring=self.scale.measuring,
            )
            for one in self.subjects(row)
            if isinstance(one, Run) == measure.of_runs
        ]

    def artifacts(self) -> list[Artifact]:
        """Everything, what others need before them, each once."""
        wanted = [
            one
            for row in self.recipe.rows
            for name, measure in self.recipe.measures.items()
            for share in (self.recipe.shares if measure.of_runs else [WHOLE_RUN])
            for one in self.measurements(row, name, share)
        ]
        return with_needs(wanted)


def plan_of(
    recipe: Recipe, scale: Scale, *, seeds: int = 1, data: EvaluationData | None = None
) -> Plan:
    """What a recipe comes to at a scale.

    Raises:
        UsageError: the scale has nothing in place of a part.
    """
    return Plan(
        recipe=recipe,
        scale=scale,
        runs={
            row: [run_for(name, scale, seed) for seed in range(seeds)]
            for row, name in recipe.runs.items()
        },
        compressors={
            row: compressor_for(view, recipe.store, scale)
            for row, view in recipe.compressors.items()
        },
        data=data or EvaluationData(),
    )
