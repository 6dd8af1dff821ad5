"""A scale: what stands for the paper's corpora, compressors and models at a size that fits.

``scaled`` turns a shipped configuration into the run that is trained. What a comparison is about
stays: the mixture, the heads, sentinels, softmax and attention, and every ratio between runs
(contexts, symbols per step, steps and parts of a run, peak learning rates).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt

from proxylm.config import Config, load_config, plain_config, validate_config
from proxylm.corpus.config import HeldOutFraction
from proxylm.device import DeviceName
from proxylm.errors import UsageError
from proxylm.evaluation.mutated import MutatedSettings
from proxylm.evaluation.next_line import NextLineSettings
from proxylm.models.config import Attention, EvaAttention, ModelConfig
from proxylm.recipes.views import CorpusChoice, ViewChoice
from proxylm.training.config import DERIVED_KEYS, HeldOutConfig, PresetModel, TrainingConfig

SCALES = Path(__file__).parent / "scales"
PAPER = "paper"
"""The scale of the configurations as they are shipped: it is printed, and nothing is run."""

Value = TypeVar("Value")

PAPER_STEPS = 50_000
PAPER_SYMBOLS_PER_STEP = 2_097_152
PAPER_CONTEXT = 16_384


class StandIn(Config):
    """Sizes of a model in place of a preset's."""

    layers: PositiveInt
    width: PositiveInt
    ffn: PositiveInt
    heads: PositiveInt


class Measuring(Config):
    """How much is measured.

    Attributes:
        problems: first so many of a benchmark; None takes all.
        held_out_bytes: whole held-out documents until so many bytes.
        next_line: lines that are asked for.
        mutated: mutations of solutions.
        stability_samples: samples of a compressor's stability (Figure 4).
        recode_seeds: s of ReCode.
        execute: whether programs are generated and run, for pass@k.
        samples: completions drawn beside the greedy one, for pass@10.
    """

    problems: PositiveInt | None = None
    held_out_bytes: PositiveInt = 300_000
    next_line: NextLineSettings = NextLineSettings()
    mutated: MutatedSettings = MutatedSettings()
    stability_samples: PositiveInt = 10_000
    recode_seeds: PositiveInt = 5
    execute: bool = False
    samples: PositiveInt = 20


class Scale(Config):
    """What stands for what; the scale's file says why.

    Attributes:
        notes: said below every table.
        corpora: by the stores of the configurations.
        held_out_fraction: share of the documents that no training sees.
        views: compressors by the names of their views.
        trained_views: views that runs are shown in place of others.
        models: sizes by preset.
        window: of EVA attention, in place of 2048 symbols.
        context: in place of 16 384 symbols; other contexts in proportion.
        symbols_per_step: in place of 2 097 152; others in proportion.
        steps: in place of 50 000; other lengths and parts of runs in proportion.
        peak_factor: what peak learning rates are multiplied by.
        held_out: held-out documents on the way.
        device: where is trained.
        measuring: how much is measured.
    """

    notes: tuple[str, ...]
    corpora: dict[str, CorpusChoice]
    held_out_fraction: HeldOutFraction
    views: dict[str, ViewChoice]
    trained_views: dict[str, str] = Field(default_factory=dict)
    models: dict[str, StandIn]
    window: PositiveInt
    context: PositiveInt
    symbols_per_step: PositiveInt
    steps: PositiveInt
    peak_factor: PositiveFloat
    held_out: HeldOutConfig
    device: DeviceName = "cpu"
    measuring: Measuring = Measuring()

    def steps_for(self, steps: int) -> int:
        """What stands for a number of the paper's steps; none stay none."""
        return max(1, round(steps * self.steps / PAPER_STEPS)) if steps else 0

    def view(self, name: str) -> ViewChoice:
        """The compressor behind a view.

        Raises:
            UsageError: the scale has none of that name.
        """
        return _named(self.views, name, "view")

    def corpus(self, store: str) -> CorpusChoice:
        """What stands for a store's documents.

        Raises:
            UsageError: the scale has none of that name.
        """
        return _named(self.corpora, store, "corpus of the store")

    def model(self, name: str) -> StandIn:
        """What stands for a preset.

        Raises:
            UsageError: the scale has none of that name.
        """
        return _named(self.models, name, "model in place of")


def scale_names() -> list[str]:
    """The scales that are run, smallest first."""
    return sorted(path.stem for path in SCALES.glob("*.yaml"))


def read_scale(name: str, overrides: tuple[str, ...] = ()) -> Scale:
    """A shipped scale by its name, or one of the user's by its file.

    Raises:
        UsageError: there is none, or a value is wrong.
    """
    path = SCALES / f"{name}.yaml"
    if path.is_file():
        return load_config(Scale, path, overrides)
    if Path(name).is_file():
        return load_config(Scale, Path(name), overrides)
    there = ", ".join([*scale_names(), PAPER])
    raise UsageError(f"no scale '{name}'; there are: {there}, or give a file")


@cache
def shipped_config(name: str) -> TrainingConfig:
    """A configuration as it is shipped."""
    return load_config(TrainingConfig, Path(name))


def scaled(config: TrainingConfig, scale: Scale) -> TrainingConfig:
    """The run that stands for a configuration of the paper; its stores keep their names.

    Raises:
        UsageError: the scale has nothing in place of its model, or sizes do not fit.
    """
    values = plain_config(config)
    values["model"] = {"kind": "explicit", "sizes": _sizes(config, scale)}
    share = config.symbols_per_step / PAPER_SYMBOLS_PER_STEP
    values["symbols_per_step"] = round(share * scale.symbols_per_step)
    values["length"] = {"kind": "steps", "steps": scale.steps_for(config.total_steps)}
    rate = values["learning_rate"]
    rate["peak"] *= scale.peak_factor
    rate["warmup_steps"] = scale.steps_for(rate["warmup_steps"])
    for part in (values["mixing"]["rate"], values["mixing"]["granularity"].get("pairing", {})):
        if part.get("steps"):
            part["steps"] = scale.steps_for(part["steps"])
    kept = values["checkpoints"].get("keep_every_steps")
    every = scale.steps_for(kept or config.total_steps)
    values["checkpoints"] |= {"every_steps": every, "keep_every_steps": kept and every}
    values["held_out"] = plain_config(scale.held_out)
    values["device"] = scale.device
    for source in values["data"]:
        source["view"] = scale.trained_views.get(source["view"], source["view"])
    return validate_config(TrainingConfig, values, origin="scaled configuration")


def _sizes(config: TrainingConfig, scale: Scale) -> dict[str, Any]:
    assert isinstance(config.model, PresetModel), "shipped configurations name presets"
    model, stand_in = config.model_for(0), scale.model(config.model.name)
    return model.model_dump(mode="json", exclude=set(DERIVED_KEYS)) | {
        **plain_config(stand_in),
        "context": round(model.context * scale.context / PAPER_CONTEXT),
        "attention": plain_config(_attention(model, stand_in, scale.window)),
    }


def _attention(model: ModelConfig, stand_in: StandIn, window: int) -> Attention:
    if isinstance(model.attention, EvaAttention):
        return model.attention.model_copy(update={"window": window})
    shared_by = model.heads // model.attention.kv_heads
    return model.attention.model_copy(update={"kv_heads": max(1, stand_in.heads // shared_by)})


def _named(values: Mapping[str, Value], name: str, kind: str) -> Value:
    if name not in values:
        raise UsageError(f"the scale has no {kind} '{name}'; it has: {', '.join(values)}")
    return values[name]
