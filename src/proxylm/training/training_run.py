"""A run in the making: its parts put together, advanced step by step, saved and restored."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from proxylm.checkpoints.checkpoint import (
    CHECKPOINTS_FOLDER,
    Checkpoint,
    Origin,
    TrainingState,
    newest_valid,
    prune,
    save_checkpoint,
    set_aside_after,
    what_is_safe,
)
from proxylm.errors import CheckpointError
from proxylm.generation.byte_model import ByteModel
from proxylm.models.language_model import LanguageModel
from proxylm.pool import threads_each
from proxylm.training.callbacks import Callback, Record
from proxylm.training.inputs import Inputs
from proxylm.training.loop import Trainer, TrainingDivergedError, Update
from proxylm.training.metrics import METRICS_FILE, MetricsLog, read_metrics
from proxylm.training.optimizer import build_optimizer, optimizer_tensors, restore_optimizer

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class TrainingRun:
    """The changing side of a run, as callbacks see it.

    Attributes:
        folder: the run folder; None for a run that leaves nothing on disk.
        inputs: what the run is made of.
        trainer: makes the updates.
        state: how far it is.
        saved_step: the step of the newest checkpoint; 0 without one.
        stop_reason: what ``stop`` was called with; None as long as nobody did.
        signal: the signal that has asked to stop; None without one.
    """

    folder: Path | None
    inputs: Inputs
    trainer: Trainer
    state: TrainingState
    saved_step: int
    stop_reason: str | None = None
    signal: str | None = None

    @property
    def model(self) -> LanguageModel:
        """The model under training; ``evaluating`` is safer."""
        return self.trainer.model

    @property
    def step(self) -> int:
        """Updates made."""
        return self.state.step

    @property
    def total_steps(self) -> int:
        """Updates in the whole run."""
        return self.inputs.total_steps

    @property
    def finished(self) -> bool:
        """Whether all updates are made."""
        return self.step >= self.total_steps

    @property
    def goes_on(self) -> bool:
        """Whether there is another step; a run has at least one, and does not stop unsaved.

        A signal may come after the step's callbacks: the next step is the last one then.
        """
        unsaved = self.folder is not None and self.saved_step < self.step
        return not self.finished and (not self._is_stopped or unsaved or self.step == 0)

    def stop(self, reason: str) -> None:
        """End the run after the present step, which is saved; ``TrainResult.stopped`` says why."""
        self.stop_reason = self.stop_reason or reason

    def interrupt(self, signal_name: str) -> None:
        """End this start of the run after the step under way, which is saved."""
        self.signal = signal_name

    def is_due(self, every_steps: int) -> bool:
        """Whether what happens every so many steps, and at the end, happens after this one."""
        return self.step % every_steps == 0 or self.finished

    def history(self) -> list[Record]:
        """What the run's folder has of the steps so far, in order; empty without a folder."""
        path = None if self.folder is None else self.folder / METRICS_FILE
        if path is None or not path.exists():
            return []
        return [record for record in read_metrics(path) if record["step"] <= self.step]

    @contextmanager
    def evaluating(self) -> Iterator[ByteModel]:
        """Within, the model as its users see it: in evaluation mode, without gradients.

        Afterwards it trains on as if nothing had been.
        """
        was_training = self.model.training
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        origin = self.inputs.origin
        try:
            yield ByteModel(self.model, compressor_fingerprint=origin.compressor_fingerprint)
        finally:
            self.model.train(was_training)
            for parameter in trained:
                parameter.requires_grad_(True)

    def advance(self) -> Record:
        """Make one update; its metrics.

        Raises:
            TrainingDivergedError: the message says what to start again from.
        """
        started = time.perf_counter()
        step = self.step
        update = self._update(step)
        shown = self._shown(step)
        seconds = time.perf_counter() - started
        self.state = self.state.model_copy(
            update={
                "step": step + 1,
                "symbols": self.state.symbols + update.symbols,
                "raw_bytes": self.state.raw_bytes + shown.pop("raw_bytes", 0),
                "raw_format_bytes": (self.state.raw_format_bytes or 0)
                + shown.get("raw_symbols", 0),
                "documents": self.state.documents + shown.pop("documents_started", 0),
                "training_flops": self.state.training_flops + update.flops,
                "seconds": self.state.seconds + seconds,
                "loss": update.loss,
            }
        )
        return {
            **self.state.model_dump(exclude={"held_out", "threads", "torch_version"}),
            "loss_by_format": update.loss_by_format,
            "grad_norm": update.grad_norm,
            "learning_rate": update.learning_rate,
            "symbols_per_second": update.symbols / seconds,
            "flops_per_second": update.flops / seconds,
            **shown,
        }

    def _update(self, step: int) -> Update:
        try:
            return self.trainer.update(step)
        except TrainingDivergedError as error:
            safe = f", {what_is_safe(self.folder / CHECKPOINTS_FOLDER)}" if self.folder else ""
            origin = " from it (init_from)" if self.saved_step else ""
            raise TrainingDivergedError(
                f"{error} and stops here{safe}: start again{origin} with a lower "
                "learning_rate.peak or a longer warm-up"
            ) from None

    def _shown(self, step: int) -> dict[str, Any]:
        """What the step's batch shows of the data, as far as the batches know."""
        statistics = getattr(self.inputs.batches, "statistics", None)
        return {} if statistics is None else statistics(step).to_json()

    @property
    def save_is_due(self) -> bool:
        """Whether a checkpoint belongs here: regularly, and after the last step of this start."""
        saving = self.inputs.settings.checkpoints
        is_milestone = saving.keep_every_steps and self.step % saving.keep_every_steps == 0
        due = self._is_stopped or is_milestone or self.is_due(saving.every_steps)
        return bool(due) and self.step > self.saved_step

    @property
    def _is_stopped(self) -> bool:
        return self.stop_reason is not None or self.signal is not None


class Checkpoints(Callback):
    """Saves the run where that is due, and keeps the newest few checkpoints and the milestones.

    Args:
        log: is on the disk before a checkpoint vouches for the steps so far.
    """

    def __init__(self, log: MetricsLog) -> None:
        self._log = log

    def on_step(self, run: TrainingRun, record: Record) -> None:
        """Write a checkpoint of the present step and remove those that are not kept."""
        if run.folder is None or not run.save_is_due:
            return
        self._log.sync()
        folder = run.folder / CHECKPOINTS_FOLDER
        save_checkpoint(
            folder,
            model_tensors=run.model.state_dict(),
            optimizer_tensors=optimizer_tensors(run.model, run.trainer.optimizer),
            model_config=run.model.config,
            state=run.state,
            origin=run.inputs.origin,
        )
        run.saved_step = run.step
        saving = run.inputs.settings.checkpoints
        prune(folder, saving.keep_last, saving.keep_every_steps)


def start_or_resume(folder: Path | None, inputs: Inputs) -> TrainingRun:
    """The run of a folder that is held: from its newest valid checkpoint, or fresh.

    Raises:
        CheckpointError: checkpoints are there and none loads, or the data has changed since.
    """
    checkpoint = None if folder is None else newest_valid(folder)
    model = inputs.new_model() if checkpoint is None else _resumed_model(inputs, checkpoint)
    trainer = _trainer(model, inputs)
    state = TrainingState(threads=_threads_of_a_new_run(), raw_format_bytes=0)
    if checkpoint is not None:
        restore_optimizer(model, trainer.optimizer, checkpoint.optimizer_tensors())
        state = checkpoint.state
        set_aside_after(checkpoint.path.parent, state.step)
    run = TrainingRun(
        folder=folder,
        inputs=inputs,
        trainer=trainer,
        state=state.model_copy(update={"torch_version": torch.__version__}),
        saved_step=state.step,
    )
    if state.raw_format_bytes is None:
        counted = sum(record.get("raw_symbols", 0) for record in run.history())
        run.state = run.state.model_copy(update={"raw_format_bytes": counted})
    if run.step and not run.finished:
        _say_which_threads(run)
    return run


def _resumed_model(inputs: Inputs, checkpoint: Checkpoint) -> LanguageModel:
    _require_same_origin(checkpoint, inputs.origin)
    model = inputs.model_to_fill(checkpoint.model_config())
    checkpoint.weights().copy_into(model)
    return model


def _trainer(model: LanguageModel, inputs: Inputs) -> Trainer:
    model = model.to(inputs.place.device)
    return Trainer(
        model=model,
        optimizer=build_optimizer(model, inputs.settings.optimizer),
        batches=inputs.batches,
        settings=inputs.settings,
        place=inputs.place,
        total_steps=inputs.total_steps,
        teacher=inputs.new_teacher().to(inputs.place.device) if inputs.new_teacher else None,
    )


def _require_same_origin(checkpoint: Checkpoint, here: Origin) -> None:
    there, run = checkpoint.manifest.origin, checkpoint.path.parents[1]
    for what, then, now in (
        (
            "configuration (or what this version makes of it)",
            there.configuration_hash,
            here.configuration_hash,
        ),
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


def _say_which_threads(run: TrainingRun) -> None:
    here = _threads_of_a_new_run()
    if here != run.state.threads:
        logger.warning(
            "%s: goes on with the %d threads that it was started with (a new run here would take "
            "%d), so that its numbers are those of an uninterrupted run",
            run.folder,
            run.state.threads,
            here,
        )
