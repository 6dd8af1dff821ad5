"""A grid of runs: arms at several sizes and on several corpora, at equal operations, over seeds.

Peak learning rates are swept alike for every arm, at one size; other runs wait for their peak.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from proxylm.config import Config, validate_config
from proxylm.config_files import laid_over, read_config_file
from proxylm.corpus.config import HeldOutFraction
from proxylm.errors import DataNotAtHandError
from proxylm.models.config import ModelConfig
from proxylm.models.flops import training_flops
from proxylm.recipes.artifacts import Artifact, Run, Store, TrainedCompressor
from proxylm.recipes.measures import EvaluationData, MeasureChoice
from proxylm.recipes.plan import Measurement
from proxylm.recipes.recipe import WHOLE_RUN
from proxylm.recipes.scale import Measuring
from proxylm.recipes.views import CorpusChoice, TokenizerView
from proxylm.results.points import Inputs, Label, Number, Point, Points
from proxylm.symbols import vocabulary_size
from proxylm.training.config import TrainingConfig

VIEW = "tokens"
ANY_STEPS = 100_000
"""Of a run that is only asked for its model, which does not depend on them."""

FROM_RECIPES = ("mixing", "optimizer")
"""What an arm takes of a shipped recipe; sizes and lengths are the grid's."""


class Size(Config):
    """One size of the grid.

    Attributes:
        model: fields of the model over those of the base's preset.
        vocabulary: of the tokenizer, whose rows cost operations too.
        symbols: of a model of bytes alone; its operations are the budget of every arm.
        seeds: how many.
        arms, corpora: those at this size; empty: all.
    """

    model: dict[str, Any]
    vocabulary: PositiveInt
    symbols: PositiveInt
    seeds: PositiveInt
    arms: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ()


class Arm(Config):
    """One way to train.

    Attributes:
        recipe: a shipped part whose mixing and optimizer it has.
        values: of the run's configuration, over the base and the recipe.
        budget: share of the size's operations, apart from those of what it starts from.
        start: another arm; its run of the same size, corpus and seed is where it starts.
        vocabulary: in place of the size's; that of an arm and of its start are one.
        peak: of the learning rate, which is not swept then.
        peak_of: another arm, whose peak it takes.
        is_step: it is there to be started from alone, and no point of its own.
    """

    recipe: str | None = None
    values: dict[str, Any] = Field(default_factory=dict)
    budget: PositiveFloat = 1.0
    start: str | None = None
    vocabulary: PositiveInt | None = None
    peak: PositiveFloat | None = None
    peak_of: str | None = None
    is_step: bool = False


class GridWork(Config):
    """What is trained and measured.

    Attributes:
        base: values of every run's configuration.
        corpora: documents by name; a path in braces is that of an input.
        held_out_fraction: share of the documents that no training sees.
        sizes: by name, smallest first.
        arms: by name, each after those that it names.
        peaks: of the learning rate, tried for every arm.
        swept: the size at which they are tried, on the first corpus and with seed 0.
        chosen_by: the number that chooses a peak by being smallest.
        measures: of every run, by name.
        numbers: what is kept, by name: a measure's name and a place in its result.
        measuring: how much is measured.
        flops_per_second: of one core, for estimates.
        measuring_seconds: of a run's measurements, for estimates.
    """

    kind: Literal["grid"] = "grid"
    base: dict[str, Any]
    corpora: dict[str, CorpusChoice]
    held_out_fraction: HeldOutFraction = 0.05
    sizes: dict[str, Size]
    arms: dict[str, Arm]
    peaks: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    swept: str
    chosen_by: str
    measures: dict[str, MeasureChoice]
    numbers: dict[str, str]
    measuring: Measuring = Measuring()
    flops_per_second: PositiveFloat = 3.5e10
    measuring_seconds: PositiveFloat = 50.0

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        known: set[str] = set()
        for name, arm in self.arms.items():
            if missing := {arm.start, arm.peak_of} - {None} - known:
                raise ValueError(f"arms.{name}: there is no arm {missing.pop()!r} before it")
            known.add(name)
        for name, size in self.sizes.items():
            if unknown := {*size.arms} - known or {*size.corpora} - {*self.corpora}:
                raise ValueError(f"sizes.{name}: there is no arm or corpus {unknown.pop()!r}")
        for name, place in self.numbers.items():
            if place.partition(".")[0] not in self.measures:
                raise ValueError(f"numbers.{name}: {place} begins with no measure")
        if self.swept not in self.sizes:
            raise ValueError(f"swept: there is no size {self.swept!r}")
        if self.chosen_by not in self.numbers:
            raise ValueError(f"chosen_by: there is no number {self.chosen_by!r}")
        return self

    def points(self, inputs: Inputs, data: EvaluationData, pool: Path) -> Points:
        """What there is to make; runs whose peak is not chosen yet are not among it.

        Raises:
            UsageError: a value does not fit.
        """
        return _Grid(self, inputs, data, pool).points

    def with_peaks_assumed(self) -> GridWork:
        """The same grid with the first peak for every arm: as much work, for estimates."""
        arms = {
            name: arm.model_copy(update={"peak": arm.peak or self.peaks[0]})
            for name, arm in self.arms.items()
        }
        return self.model_copy(update={"arms": arms})

    def seconds(self, artifact: Artifact) -> float:
        """About how long a run and its measurements take on one core; 0 for all else."""
        if not isinstance(artifact, Run):
            return 0.0
        config, compressor = artifact.config, artifact.store.compressor
        view = compressor.view if compressor else None
        symbols = view.training.vocabulary_size if isinstance(view, TokenizerView) else 0
        per_step = _context_flops(config.model_for(symbols)) * config.contexts_per_step
        return per_step * config.total_steps / self.flops_per_second + self.measuring_seconds


@dataclass(frozen=True)
class _Grid:
    """A grid with everything that its points are made from."""

    work: GridWork
    inputs: Inputs
    data: EvaluationData
    pool: Path

    @cached_property
    def points(self) -> Points:
        """See ``GridWork.points``."""
        peaks, sweep = self._peaks()
        wanted = list(self._places())
        points = [
            self._point(size, arm, corpus, seed, peaks)
            for size, arm, corpus, seed in wanted
            if arm in peaks
        ]
        is_all = len(points) == len(wanted)
        return Points(points=tuple(points), sweep=tuple(sweep), chosen=peaks, is_all=is_all)

    def _places(self) -> Iterator[tuple[str, str, str, int]]:
        """Size, arm, corpus and seed of every point; all arms of a seed before the next seed."""
        for size, sized in self.work.sizes.items():
            for corpus in sized.corpora or self.work.corpora:
                for seed in range(sized.seeds):
                    for arm in sized.arms or self.work.arms:
                        if not self.work.arms[arm].is_step:
                            yield size, arm, corpus, seed

    def _peaks(self) -> tuple[dict[str, float], list[Point]]:
        """The peaks that are known, and the points that choose the others."""
        peaks: dict[str, float] = {}
        sweep: list[Point] = []
        for name, arm in self.work.arms.items():
            if arm.peak is not None:
                peaks[name] = arm.peak
            elif arm.peak_of is not None:
                peaks |= {name: peaks[arm.peak_of]} if arm.peak_of in peaks else {}
            elif arm.start is None or arm.start in peaks:
                tried = {peak: self._swept(name, peak, peaks) for peak in self.work.peaks}
                sweep += tried.values()
                chosen = self._best(tried)
                peaks |= {} if chosen is None else {name: chosen}
        return peaks, sweep

    def _swept(self, arm: str, peak: float, peaks: dict[str, float]) -> Point:
        corpus = next(iter(self.work.corpora))
        point = self._point(self.work.swept, arm, corpus, 0, peaks | {arm: peak})
        return Point(
            labels={"arm": arm, "peak": peak},
            numbers={
                name: number
                for name, number in point.numbers.items()
                if name == self.work.chosen_by
            },
            lacking=point.lacking,
        )

    def _best(self, tried: dict[float, Point]) -> float | None:
        """The peak that is best; None until all are tried, or where none came to an end."""
        scores: dict[float, float] = {}
        for peak, point in tried.items():
            number = point.numbers.get(self.work.chosen_by)
            if number is None or number.artifact.record(self.pool) is None:
                return None
            value, _ = number.value(self.pool)
            if value is not None:
                scores[peak] = value
        return min(scores, key=scores.__getitem__, default=None)

    def _point(self, size: str, arm: str, corpus: str, seed: int, peaks: dict[str, float]) -> Point:
        labels: dict[str, Label] = {"size": size, "arm": arm, "corpus": corpus, "seed": seed}
        try:
            documents = self._corpus(corpus)
        except DataNotAtHandError as error:
            return Point(labels=labels, lacking=str(error))
        run = self._run(size, arm, documents, seed, peaks)
        numbers = {name: self._number(run, place) for name, place in self.work.numbers.items()}
        constants = {
            "peak": peaks[arm],
            "body parameters": self._body_parameters(size),
            "operations": float(self._operations(size, arm)),
        }
        return Point(labels=labels, numbers=numbers, constants=constants)

    def _number(self, run: Run, place: str) -> Number:
        measure, _, inside = place.partition(".")
        measurement = Measurement(
            f"{run.name}-{measure}",
            measure=self.work.measures[measure],
            of=run,
            share=WHOLE_RUN,
            data=self.data,
            measuring=self.work.measuring,
        )
        return Number(measurement, measurement.names(inside))

    def _corpus(self, name: str) -> CorpusChoice:
        choice = self.work.corpora[name]
        path = str(choice.files.path)
        if not path.startswith("{"):
            return choice
        found = str(self.inputs.path(path.strip("{}")))
        return choice.model_copy(update={"files": choice.files.model_copy(update={"path": found})})

    def _run(
        self, size: str, arm: str, corpus: CorpusChoice, seed: int, peaks: dict[str, float]
    ) -> Run:
        chosen = self.work.arms[arm]
        start = chosen.start and self._run(size, chosen.start, corpus, seed, peaks)
        config = self._config(size, arm, peaks[arm], self._steps(size, arm))
        store = self._store(corpus, self._vocabulary(size, arm))
        name = f"{size}-{arm}-{peaks[arm]:g}-seed{seed}"
        seeded = config.model_copy(update={"seed": seed})
        return Run(name, config=seeded, store=store, start=start or None)

    def _store(self, corpus: CorpusChoice, vocabulary: int) -> Store:
        fraction = self.work.held_out_fraction
        training = {"algorithm": "bpe", "vocabulary_size": vocabulary}
        compressor = TrainedCompressor(
            f"tokenizer of {vocabulary}",
            view=validate_config(TokenizerView, {"training": training}),
            corpus=corpus,
            held_out_fraction=fraction,
            base=None,
            device="cpu",
        )
        return Store(
            f"store with {vocabulary} tokens",
            corpus=corpus,
            held_out_fraction=fraction,
            view=VIEW,
            compressor=compressor,
        )

    def _vocabulary(self, size: str, arm: str) -> int:
        return self.work.arms[arm].vocabulary or self.work.sizes[size].vocabulary

    def _config(self, size: str, arm: str, peak: float, steps: int) -> TrainingConfig:
        chosen = self.work.arms[arm]
        values = self.work.base
        if chosen.recipe is not None:
            recipe = read_config_file(Path(chosen.recipe)).values
            values = laid_over(values, {key: recipe[key] for key in FROM_RECIPES if key in recipe})
        values = laid_over(values, chosen.values)
        sizes = {"overrides": self.work.sizes[size].model}
        own = {
            "data": [{"store": VIEW, "view": VIEW}],
            "model": laid_over(sizes, values.get("model", {})),
            "length": {"kind": "steps", "steps": steps},
            "learning_rate": {**values.get("learning_rate", {}), "peak": peak},
        }
        return validate_config(TrainingConfig, {**values, **own}, origin=f"arm {arm}")

    def _model(self, size: str, arm: str) -> tuple[ModelConfig, int]:
        """The model, and the operations of one step of training it."""
        config = self._config(size, arm, self.work.peaks[0], ANY_STEPS)
        model = config.model_for(self._vocabulary(size, arm))
        return model, config.contexts_per_step * _context_flops(model)

    def _steps(self, size: str, arm: str) -> int:
        """Steps whose operations are the arm's share of those of a model of bytes."""
        model, per_step = self._model(size, arm)
        of_bytes = model.model_copy(update={"vocabulary_size": vocabulary_size(0)})
        symbols = self.work.sizes[size].symbols * self.work.arms[arm].budget
        return max(1, round(symbols / model.context * _context_flops(of_bytes) / per_step))

    def _operations(self, size: str, arm: str) -> int:
        """Of the run and of those that it starts from, counted with the output layer."""
        own = self._steps(size, arm) * self._model(size, arm)[1]
        start = self.work.arms[arm].start
        return own + (0 if start is None else self._operations(size, start))

    def _body_parameters(self, size: str) -> int:
        model, _ = self._model(size, next(iter(self.work.arms)))
        return model.matrix_parameter_count - model.vocabulary_size * model.width


@cache
def _flops(values: str, context: int) -> int:
    model = ModelConfig.model_validate_json(values)
    return training_flops(model, np.zeros((1, context), dtype=np.int32))


def _context_flops(model: ModelConfig) -> int:
    """Operations of training on one context that one document fills."""
    return _flops(model.model_dump_json(), model.context)
