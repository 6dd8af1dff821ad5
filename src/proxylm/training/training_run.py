"""A run in the making: its parts put together, advanced step by step, saved and restored."""

from __future__ import annotations

import logging
import math
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
from proxylm.errors import CheckpointError, UsageError
from proxylm.generation.byte_model import ByteModel
from proxylm.models.language_model import LanguageModel
from proxylm.pool import threads_each
from proxylm.ranks import ALONE, Ranks
from proxylm.training.callbacks import Callback, Record
from proxylm.training.inputs import Inputs
from proxylm.training.loop import Trainer, TrainingDivergedError, Update
from proxylm.training.metrics import METRICS_FILE, MetricsLog, read_metrics
from proxylm.training.optimizer import build_optimizer, optimizer_tensors, restore_optimizer
from proxylm.training.reading import RankBatches, ReadAhead
from proxylm.training.sharding import whole_copy
from proxylm.training.speed import peak_flops, peak_memory
from proxylm.training.starting_model import starting_model_of

logger = logging.getLogger(__name__)

NOT_RECORDED = {"held_out", "threads", "torch_version", "compared_losses", "spikes_in_a_row"}
"""What of a run's state the record of a step does not repeat."""


@dataclass(kw_only=True)
class TrainingRun:
    """The changing side of a run, as callbacks see it.

    Attributes:
        folder: the run folder; None for a run that leaves nothing on disk.
        inputs: what the run is made of.
        trainer: makes the updates.
        state: how far it is.
        saved_step: the step of the newest checkpoint; 0 without one.
        ranks: the processes that make it together.
        stop_reason: what ``stop`` was called with; None as long as nobody did.
        signal: the signal that has asked to stop, on whatever rank; None without one.
        signal_here: one that has come to this rank, and that the others do not know of yet.
    """

    folder: Path | None
    inputs: Inputs
    trainer: Trainer
    state: TrainingState
    saved_step: int
    ranks: Ranks = ALONE
    stop_reason: str | None = None
    signal: str | None = None
    signal_here: str | None = None

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
        self.signal_here = signal_name

    def agree_to_stop(self) -> None:
        """Let all ranks know who has asked to stop, so that they end after the same step."""
        asked = (self.signal_here, self.stop_reason)
        if not self.ranks.any(asked != (None, None)):
            return
        signals, reasons = zip(*self.ranks.gather(asked), strict=True)
        self.signal = next(filter(None, signals), None)
        self.stop_reason = next(filter(None, reasons), None)

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

        Of several ranks all have to ask; each has a whole copy as long as this lasts. Afterwards
        it trains on as if nothing had been.
        """
        was_training = self.model.training
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        fingerprint = self.inputs.origin.compressor_fingerprint
        model = self.model if self.ranks.is_alone else whole_copy(self.model)
        try:
            yield ByteModel(model, compressor_fingerprint=fingerprint)
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
        spike = self._after_spike(update) if update.is_spike else {}
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
                "loss": update.loss if math.isfinite(update.loss) else self.state.loss,
                **self._losses_after(update),
            }
        )
        return {
            **self.state.model_dump(exclude=NOT_RECORDED),
            "loss_by_format": update.loss_by_head[0],
            **({"loss_by_head": update.loss_by_head} if len(update.loss_by_head) > 1 else {}),
            "contexts_hash": update.contexts_hash,
            "grad_norm": update.grad_norm if math.isfinite(update.grad_norm) else None,
            "learning_rate": update.learning_rate,
            **self._speed(update, seconds),
            **spike,
            **shown,
        }

    def _speed(self, update: Update, seconds: float) -> dict[str, Any]:
        """How fast an update was, and what it took: numbers that no two runs have alike."""
        peak = self.ranks.world * peak_flops(self.trainer.place)
        return {
            "symbols_per_second": update.symbols / seconds,
            "flops_per_second": update.flops / seconds,
            "peak_flops": peak,
            "mfu": update.flops / seconds / peak,
            "waited_seconds": update.waited_seconds,
            "peak_memory_bytes": peak_memory(self.trainer.place),
        }

    def _losses_after(self, update: Update) -> dict[str, Any]:
        """What the state keeps for the steps to come, where spikes are looked for."""
        spikes = self.inputs.settings.loss_spikes
        if spikes is None:
            return {}
        if update.is_spike:
            return {"spikes_in_a_row": self.state.spikes_in_a_row + 1}
        losses = spikes.losses_after(self.state.compared_losses, update.loss)
        return {"compared_losses": losses, "spikes_in_a_row": 0}

    def _after_spike(self, update: Update) -> Record:
        """Do what is configured about a step whose update was not made; what its record says."""
        spikes, step = self.inputs.settings.loss_spikes, self.step + 1
        assert spikes is not None
        if self.state.spikes_in_a_row >= spikes.at_most:
            raise self._diverged(
                f"step {step}: loss {update.loss:.4g} is a spike after {spikes.at_most} in a row "
                "(loss_spikes.at_most); training has diverged"
            )
        done = "its update is not made"
        if spikes.then == "roll_back" and self.saved_step and self.folder is not None:
            checkpoint = newest_valid(self.folder, self.ranks)
            assert checkpoint is not None, "it was saved"
            restore(checkpoint, self.trainer, self.ranks)
            done = f"weights and optimizer are those of step {checkpoint.state.step} again"
        logger.warning("step %d: the loss jumps up to %.4g: %s", step, update.loss, done)
        return {"spike": done}

    def _update(self, step: int) -> Update:
        try:
            return self.trainer.update(step, self.state.compared_losses)
        except TrainingDivergedError as error:
            safe = f", {what_is_safe(self.folder / CHECKPOINTS_FOLDER)}" if self.folder else ""
            origin = " from it (init_from)" if self.saved_step else ""
            raise self._diverged(
                f"{error} and stops here{safe}: start again{origin} with a lower "
                "learning_rate.peak or a longer warm-up"
            ) from None

    def _diverged(self, message: str) -> TrainingDivergedError:
        """The error of all ranks, which see the same numbers; the first one says it."""
        error = TrainingDivergedError(message)
        error.told_elsewhere = not self.ranks.is_first
        return error

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
        log: is on the disk before a checkpoint vouches for the steps so far; None on the ranks
            that write none.
    """

    def __init__(self, log: MetricsLog | None) -> None:
        self._log = log

    def on_step(self, run: TrainingRun, record: Record) -> None:
        """Write a checkpoint of the present step and remove those that are not kept."""
        if run.folder is None or not run.save_is_due:
            return
        if self._log is not None:
            self._log.sync()
        folder = run.folder / CHECKPOINTS_FOLDER
        save_checkpoint(
            folder,
            model_tensors=run.model.state_dict(),
            optimizer_tensors=optimizer_tensors(run.model, run.trainer.optimizer),
            model_config=run.model.config,
            state=run.state,
            origin=run.inputs.origin,
            ranks=run.ranks,
        )
        run.saved_step = run.step
        saving = run.inputs.settings.checkpoints
        if run.ranks.is_first:
            prune(folder, saving.keep_last, saving.keep_every_steps)


def start_or_resume(folder: Path | None, inputs: Inputs, ranks: Ranks = ALONE) -> TrainingRun:
    """The run of a folder that is held: from its newest valid checkpoint, or fresh.

    Raises:
        CheckpointError: checkpoints are there and none loads, or the data has changed since.
    """
    with ranks.together():
        checkpoint = None if folder is None else newest_valid(folder, ranks)
        if checkpoint is not None:
            _require_same_origin(checkpoint, inputs.origin)
    model = starting_model_of(inputs, checkpoint, ranks)
    trainer = _trainer(model, inputs, ranks)
    state = TrainingState(threads=_threads_of_a_new_run(ranks), raw_format_bytes=0)
    if checkpoint is not None:
        restore(checkpoint, trainer, ranks)
        state = checkpoint.state
        if ranks.is_first:
            set_aside_after(checkpoint.path.parent, state.step)
    run = TrainingRun(
        folder=folder,
        inputs=inputs,
        trainer=trainer,
        state=state.model_copy(update={"torch_version": torch.__version__}),
        saved_step=state.step,
        ranks=ranks,
    )
    if state.raw_format_bytes is None:
        counted = sum(record.get("raw_symbols", 0) for record in run.history())
        run.state = run.state.model_copy(update={"raw_format_bytes": counted})
    if run.step and not run.finished and ranks.is_alone:
        _say_which_threads(run)
    return run


def restore(checkpoint: Checkpoint, trainer: Trainer, ranks: Ranks) -> None:
    """Give a trainer the weights and the optimizer state of a checkpoint of its run."""
    model = trainer.model
    with ranks.together():
        checkpoint.copy_into(model, ranks)
        restore_optimizer(model, trainer.optimizer, checkpoint.optimizer_tensors(model, ranks))


def _trainer(model: LanguageModel, inputs: Inputs, ranks: Ranks) -> Trainer:
    one_process = inputs.new_teacher or inputs.settings.byte_rows_steps or _is_partly_frozen(model)
    if not ranks.is_alone and one_process:
        raise UsageError(
            "distillation, byte_rows_steps and weights that stay are for a run of one process"
        )
    model.recompute(inputs.settings.parallel.recomputed_of(model.config.layers))
    batches = inputs.batches if ranks.is_alone else RankBatches(inputs.batches, ranks)
    return Trainer(
        model=model,
        optimizer=build_optimizer(model, inputs.settings.optimizer),
        batches=ReadAhead(batches, inputs.total_steps),
        settings=inputs.settings,
        place=inputs.place,
        total_steps=inputs.total_steps,
        ranks=ranks,
        teacher=inputs.new_teacher().to(inputs.place.device) if inputs.new_teacher else None,
    )


def _is_partly_frozen(model: LanguageModel) -> bool:
    return not all(parameter.requires_grad for parameter in model.parameters())


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


def _threads_of_a_new_run(ranks: Ranks) -> int:
    """What torch would take, but no more than the cores that this process can keep busy."""
    return min(torch.get_num_threads(), threads_each(ranks.on_machine))


def _say_which_threads(run: TrainingRun) -> None:
    here = _threads_of_a_new_run(run.ranks)
    if here != run.state.threads:
        logger.warning(
            "%s: goes on with the %d threads that it was started with (a new run here would take "
            "%d), so that its numbers are those of an uninterrupted run",
            run.folder,
            run.state.threads,
            here,
        )
