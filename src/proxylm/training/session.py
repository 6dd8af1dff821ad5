"""A run in the making: its parts put together, advanced step by step, saved and restored."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from proxylm.checkpoints.checkpoint import (
    CHECKPOINTS_FOLDER,
    Origin,
    TrainingState,
    copy_weights,
    newest_valid,
    prune,
    save_checkpoint,
    set_aside_after,
    what_is_safe,
)
from proxylm.data.batches import Batches, batches
from proxylm.data.statistics import StepStatistics
from proxylm.data.store.store import ViewStore
from proxylm.errors import CheckpointError
from proxylm.models.language_model import LanguageModel
from proxylm.pool import threads_each
from proxylm.training.config import TrainingConfig
from proxylm.training.device import Place, place_for
from proxylm.training.held_out import HeldOutDocuments, choose_held_out
from proxylm.training.loop import Trainer, TrainingDivergedError, Update
from proxylm.training.optimizer import build_optimizer, optimizer_tensors, restore_optimizer
from proxylm.training.starting_weights import starting_model

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a run reads, opened before its folder is touched, so that mistakes leave no trace."""

    config: TrainingConfig
    place: Place
    loader: Batches
    held_out: HeldOutDocuments | None
    origin: Origin

    @property
    def total_steps(self) -> int:
        """Updates in the run: as many as asked for, or as the data gives."""
        return min(self.config.total_steps, self.loader.steps)


def open_inputs(config: TrainingConfig) -> Inputs:
    """Open what ``config`` names.

    Every byte of the stores is checked first: a flipped bit would be trained on unnoticed.

    Raises:
        DamagedFileError: a store's file is truncated, altered or foreign; it is named.
        ProxylmError: no such device, store or view; a context that the data or model cannot have;
            a model larger than memory.
    """
    place = place_for(config)
    _verify_stores(config)
    shape = config.model_for(0)
    loader = batches(
        config.data,
        config.mixing,
        context=config.context,
        contexts_per_step=config.contexts_per_step,
        steps=config.total_steps,
        heads=shape.target_heads,
        seed=config.seed,
    )
    place.require_memory(config.model_for(loader.symbol_count))
    return Inputs(
        config=config,
        place=place,
        loader=loader,
        held_out=choose_held_out(config),
        origin=Origin(
            configuration_hash=config.hash(),
            data_fingerprint=loader.data_fingerprint,
            compressor_fingerprint=loader.compressor_fingerprint,
        ),
    )


def _verify_stores(config: TrainingConfig) -> None:
    """Read every byte of the sources' stores, each once."""
    for path in {source.store for source in config.data}:
        ViewStore.open(Path(path), verify=True)


@dataclass(kw_only=True)
class Session:
    """The changing side of a run; ``state`` tells how far it is, ``saved_step`` what is safe."""

    folder: Path
    inputs: Inputs
    trainer: Trainer
    state: TrainingState
    saved_step: int

    @property
    def finished(self) -> bool:
        """Whether all updates are made."""
        return self.state.step >= self.inputs.total_steps

    def advance(self) -> dict[str, Any]:
        """Make one update, read held-out documents if they are due; the step's metrics.

        Raises:
            TrainingDivergedError: the message says what to start again from.
        """
        started = time.perf_counter()
        step = self.state.step
        update = self._update(step)
        shown = self.inputs.loader.statistics(step)
        seconds = time.perf_counter() - started
        symbols = self.inputs.config.symbols_per_step
        held_out = self._held_out(step + 1)
        self.state = self.state.model_copy(
            update={
                "step": step + 1,
                "symbols": self.state.symbols + symbols,
                "raw_bytes": self.state.raw_bytes + shown.raw_bytes,
                "documents": self.state.documents + shown.documents_started,
                "training_flops": self.state.training_flops + update.flops,
                "seconds": self.state.seconds + seconds,
                "loss": update.loss,
                "held_out": held_out or self.state.held_out,
            }
        )
        return {
            **self.state.model_dump(exclude={"held_out", "threads", "torch_version"}),
            "loss_by_format": update.loss_by_format,
            "grad_norm": update.grad_norm,
            "learning_rate": update.learning_rate,
            "symbols_per_second": symbols / seconds,
            "flops_per_second": update.flops / seconds,
            **_mixture(shown),
            **({"held_out": held_out} if held_out else {}),
        }

    def _update(self, step: int) -> Update:
        try:
            return self.trainer.update(step)
        except TrainingDivergedError as error:
            origin = " from it (init_from)" if self.saved_step else ""
            raise TrainingDivergedError(
                f"{error} and stops here, {what_is_safe(self.folder / CHECKPOINTS_FOLDER)}: start "
                f"again{origin} with a lower learning_rate.peak or a longer warm-up"
            ) from None

    def save(self) -> Path:
        """Write a checkpoint of the present step and remove the oldest beyond those kept."""
        folder = self.folder / CHECKPOINTS_FOLDER
        model = self.trainer.model
        path = save_checkpoint(
            folder,
            model_tensors=model.state_dict(),
            optimizer_tensors=optimizer_tensors(model, self.trainer.optimizer),
            model_config=model.config,
            state=self.state,
            origin=self.inputs.origin,
        )
        self.saved_step = self.state.step
        prune(folder, self.inputs.config.checkpoints.keep_last)
        return path

    def save_is_due(self) -> bool:
        """Whether a checkpoint belongs here: regularly, and after the last update."""
        regular = self.state.step % self.inputs.config.checkpoints.every_steps == 0
        return (regular or self.finished) and self.state.step > self.saved_step

    def _held_out(self, step: int) -> dict[str, float]:
        documents = self.inputs.held_out
        if documents is None or not documents.due(step, self.inputs.total_steps):
            return {}
        return documents.bits_per_byte(self.trainer.model, self.inputs.place)


def start_or_resume(folder: Path, inputs: Inputs) -> Session:
    """The session of a run folder that is held: from its newest valid checkpoint, or fresh.

    Raises:
        CheckpointError: checkpoints are there and none loads, or the data has changed since.
    """
    checkpoint = newest_valid(folder)
    if checkpoint is None:
        model = starting_model(
            inputs.config, inputs.loader.symbol_count, inputs.origin.compressor_fingerprint
        )
    else:
        _require_same_origin(folder, checkpoint.manifest.origin, inputs.origin)
        model = LanguageModel(checkpoint.model_config(), seed=inputs.config.seed)
        copy_weights(model, checkpoint)
    trainer = _trainer(model, inputs)
    state = TrainingState(threads=_threads_of_a_new_run())
    if checkpoint is not None:
        restore_optimizer(model, trainer.optimizer, checkpoint.optimizer_tensors())
        state = checkpoint.state
        set_aside_after(folder / CHECKPOINTS_FOLDER, state.step)
        if state.step < inputs.total_steps:
            _say_which_threads(folder, state)
    return Session(
        folder=folder,
        inputs=inputs,
        trainer=trainer,
        state=state.model_copy(update={"torch_version": torch.__version__}),
        saved_step=state.step,
    )


def _trainer(model: LanguageModel, inputs: Inputs) -> Trainer:
    model = model.to(inputs.place.device)
    return Trainer(
        model=model,
        optimizer=build_optimizer(model, inputs.config.optimizer),
        loader=inputs.loader,
        config=inputs.config,
        place=inputs.place,
        total_steps=inputs.total_steps,
    )


def _mixture(shown: StepStatistics) -> dict[str, Any]:
    values = shown.to_json()
    # The record has these two as running totals.
    return {key: values[key] for key in values if key not in ("raw_bytes", "documents_started")}


def _require_same_origin(run: Path, there: Origin, here: Origin) -> None:
    for what, then, now in (
        ("configuration", there.configuration_hash, here.configuration_hash),
        ("compressor", there.compressor_fingerprint, here.compressor_fingerprint),
        ("data", there.data_fingerprint, here.data_fingerprint),
    ):
        if then != now:
            raise CheckpointError(
                f"{run}: its {what} has changed since its newest checkpoint ({then} → {now}); "
                "restore it to go on, or choose another --out"
            )


def _threads_of_a_new_run() -> int:
    """What torch would take, but no more than the cores that this process can keep busy."""
    return min(torch.get_num_threads(), threads_each(1))


def _say_which_threads(run: Path, state: TrainingState) -> None:
    here = _threads_of_a_new_run()
    if here != state.threads:
        logger.warning(
            "%s: goes on with the %d threads that it was started with (a new run here would take "
            "%d), so that its numbers are those of an uninterrupted run",
            run,
            state.threads,
            here,
        )
