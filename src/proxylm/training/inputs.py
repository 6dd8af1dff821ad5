"""What a run is made of, opened before its folder is touched, so that mistakes leave no trace.

A run is given as one configuration (``open_inputs``), or as a model and batches that are there
already (``given_inputs``); from here on both are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from proxylm.checkpoints.checkpoint import Origin
from proxylm.config import Config, plain_config, validate_config
from proxylm.data.batches import batches as batches_of
from proxylm.data.store.store import ViewStore
from proxylm.data.store.verifying import verify_store
from proxylm.errors import DataError, UsageError
from proxylm.fingerprint import fingerprint_of
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.ranks import ALONE, Ranks
from proxylm.training.config import LoopConfig, TrainingConfig
from proxylm.training.device import Place, place_for
from proxylm.training.distillation import Teacher
from proxylm.training.held_out import HeldOutDocuments, choose_held_out
from proxylm.training.reading import StepBatches
from proxylm.training.sharding import shards_of
from proxylm.training.starting_weights import starting_model, trainable


class BatchSource(StepBatches, Protocol):
    """What a run is trained on: the contexts of every step.

    It may also have ``statistics(step)`` (``data.statistics.StepStatistics``, for the metrics), a
    ``vocabulary_size``, and a ``data_fingerprint`` and ``compressor_fingerprint`` (for
    checkpoints).
    """

    @property
    def fingerprint(self) -> str:
        """Names all that is given, so that a run goes on with the same."""
        ...

    def __len__(self) -> int:
        """Steps that there are."""
        ...


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The parts of a run.

    Attributes:
        settings: how updates are made and saved.
        recorded: what ``config.yaml`` says of the run; resuming asks for the same.
        origin: what checkpoints say of it.
        place: where it computes.
        batches: what it reads.
        total_steps: updates in the run.
        held_out: documents that are read on the way; None for none.
        new_teacher: what else says what bytes should follow; None for nothing.
        new_model: the model before the first update.
        model_to_fill: a model of a checkpoint's sizes, whose weights are read into it.
        drawn: sizes and seed of a model that is drawn before the first update; None where its
            weights come from elsewhere.
        given: whether the model is an object that every rank has.

    Raises:
        DataError: the data does not fill one step.
    """

    settings: LoopConfig
    recorded: Config
    origin: Origin
    place: Place
    batches: StepBatches
    total_steps: int
    held_out: HeldOutDocuments | None = None
    new_teacher: Callable[[], Teacher] | None = None
    new_model: Callable[[], LanguageModel]
    model_to_fill: Callable[[ModelConfig], LanguageModel]
    drawn: tuple[ModelConfig, int] | None = None
    given: bool = False

    def __post_init__(self) -> None:
        if self.total_steps < 1:
            raise DataError(
                "data: it does not fill the contexts of one step; use more or smaller ones"
            )


def open_inputs(config: TrainingConfig, ranks: Ranks = ALONE, stamps: Path | None = None) -> Inputs:
    """Open what ``config`` names.

    Every byte of the stores is checked, since a flipped bit would be trained on unnoticed; ranks
    share that.

    Args:
        config: the run.
        ranks: that ask together.
        stamps: folder of what was found right in earlier starts, and is not read again; None for
            none.

    Raises:
        DamagedFileError: a store's file is truncated, altered or foreign; it is named.
        ProxylmError: no such device, store or view; a context that the data or model cannot have;
            a model larger than memory.
    """
    place = place_for(config)
    batches = batches_of(
        config.data,
        config.mixing,
        context=config.context,
        contexts_per_step=config.contexts_per_step,
        steps=config.total_steps,
        heads=config.model_for(0).target_heads,
        seed=config.seed,
    )
    wanted = config.model_for(batches.symbol_count)
    place.require_memory(wanted, ranks.on_machine, shards_of(ranks, config.parallel))
    # Last, since it takes long and leaves stamps.
    for path in sorted({source.store for source in config.data}):
        store = ViewStore.open(Path(path))
        verify_store(store, rank=ranks.rank, world=ranks.world, stamps=stamps)
    compressor = batches.compressor_fingerprint
    return Inputs(
        settings=config,
        recorded=config.resolved(),
        origin=Origin(
            configuration_hash=config.hash(),
            data_fingerprint=batches.data_fingerprint,
            compressor_fingerprint=compressor,
        ),
        place=place,
        batches=batches,
        total_steps=min(config.total_steps, len(batches)),
        held_out=choose_held_out(config),
        new_teacher=partial(Teacher.of, config.distillation) if config.distillation else None,
        new_model=lambda: starting_model(config, batches.symbol_count, compressor),
        model_to_fill=lambda sizes: trainable(LanguageModel(sizes, seed=config.seed), config),
        drawn=(wanted, config.seed) if config.init_from is None else None,
    )


class GivenObjects(Config):
    """What the folder of a run says that was given as objects: their sizes and names.

    Attributes:
        model: sizes of the model.
        batches: fingerprint of what it is trained on.
        steps: updates in the run.
        settings: how they are made.
    """

    model: ModelConfig
    batches: str
    steps: int
    settings: LoopConfig


def given_inputs(model: LanguageModel, batches: BatchSource, settings: Mapping[str, Any]) -> Inputs:
    """Take a model and batches as they are.

    Args:
        model: trained where it is, on its device.
        batches: see ``BatchSource``.
        settings: values for ``LoopConfig``; a number as ``learning_rate`` is a constant one.

    Raises:
        UsageError: the model has nothing to train, the batches lack something or do not fit it, or
            a setting has an impossible value.
        DataError: there are no batches.
    """
    if not isinstance(model, LanguageModel):
        raise UsageError(
            f"train: model is a {type(model).__name__}; give a LanguageModel (of a loaded one, its "
            ".module)"
        )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError("train: no weight of the model is to be trained; call requires_grad_()")
    for name in ("batch", "fingerprint", "__len__"):
        if not hasattr(batches, name):
            raise UsageError(f"train: batches ({type(batches).__name__}) lack '{name}'")
    config = loop_config(settings)
    steps = len(batches)
    config.learning_rate.require_fits(steps)
    if steps:
        _require_fits(model.config, batches)
    names = {"model": model.config, "batches": batches.fingerprint, "steps": steps}
    values = names | {"settings": config.without_parallel()}
    recorded = validate_config(GivenObjects, values, origin="train")
    return Inputs(
        settings=config,
        recorded=recorded,
        origin=Origin(
            configuration_hash=fingerprint_of(plain_config(recorded)),
            data_fingerprint=getattr(batches, "data_fingerprint", batches.fingerprint),
            compressor_fingerprint=getattr(batches, "compressor_fingerprint", None),
        ),
        place=Place.of(next(model.parameters()).device, config.precision),
        batches=batches,
        total_steps=steps,
        new_model=model.train,
        model_to_fill=lambda _: model.train(),
        given=True,
    )


def _require_fits(model: ModelConfig, batches: BatchSource) -> None:
    """Refuse batches whose first one the model cannot read."""
    batch = batches.batch(0)
    needed = max(getattr(batches, "vocabulary_size", 0), int(batch.inputs.max()) + 1)
    if needed > model.vocabulary_size:
        raise UsageError(
            f"train: the batches have {needed} symbols and the model {model.vocabulary_size}; make "
            f"it with vocabulary_size={needed}"
        )
    heads = batch.targets.shape[-1]
    if heads != model.target_heads:
        raise UsageError(
            f"train: the batches have targets for {heads} heads and the model has "
            f"{model.target_heads}; give batches heads={model.target_heads}"
        )
    model.require_context(batch.inputs.shape[1])


def loop_config(settings: Mapping[str, Any]) -> LoopConfig:
    """The settings of a run of given objects; a number as ``learning_rate`` is a constant one.

    Raises:
        UsageError: there is no such setting, or it has an impossible value.
    """
    rate = settings.get("learning_rate")
    if isinstance(rate, int | float):
        constant = {"kind": "constant", "peak": rate, "warmup_steps": 0}
        settings = {**settings, "learning_rate": constant}
    return validate_config(LoopConfig, settings, origin="train")
