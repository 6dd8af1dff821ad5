"""One update: a global batch in micro batches that fit, gradients added exactly, clip, AdamW.

A step is a pure function of the model, the optimizer and the step's number: nothing else is
carried, so a run that stops and goes on makes the same updates.

On a CPU the contexts of a step are handed out to threads, one each at a time, and their gradients
added in the contexts' order (``proxylm.threads`` says why). The rest of an update, a few passes
over the weights, then stays on one thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxylm.data.batch import Batch
from proxylm.errors import ProxylmError
from proxylm.models.flops import training_flops
from proxylm.models.formats import Region
from proxylm.models.language_model import LanguageModel
from proxylm.models.loss import LossReport
from proxylm.symbols import IGNORED_TARGET
from proxylm.threads import in_order, torch_threads
from proxylm.training.byte_rows import keep_byte_gradients
from proxylm.training.config import LoopConfig
from proxylm.training.device import Place
from proxylm.training.distillation import Teacher
from proxylm.training.optimizer import set_learning_rate

MOST_GRADIENTS_IN_FLIGHT = 1 << 28
"""Numbers in the gradients of single contexts that exist at a time: a gibibyte. A large model has
few workers by it, or one; torch's own parallel loops are long enough there."""


class TrainingDivergedError(ProxylmError):
    """The loss or the gradient is not a number any more; checkpoints are from before."""


class StepBatches(Protocol):
    """What an update needs of its data: the contexts of a step, by number."""

    def batch(self, step: int) -> Batch:
        """The contexts of ``step``, from 0."""
        ...


@dataclass(frozen=True, kw_only=True)
class Update:
    """What one update did.

    Attributes:
        loss: mean over the step's trained positions, nats.
        loss_by_format: mean nats of head 0 over targets of each kind that occurred.
        grad_norm: norm of the whole gradient before the clip.
        learning_rate: of this update.
        symbols: input positions.
        flops: floating-point operations that its forward and backward passes need.
    """

    loss: float
    loss_by_format: dict[str, float]
    grad_norm: float
    learning_rate: float
    symbols: int
    flops: int


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """The parts of a run that its updates change or read."""

    model: LanguageModel
    optimizer: torch.optim.Optimizer
    batches: StepBatches
    settings: LoopConfig
    place: Place
    total_steps: int
    teacher: Teacher | None = None

    def update(self, step: int) -> Update:
        """Make update ``step`` (0-based).

        Raises:
            TrainingDivergedError: loss or gradient is NaN or infinite; nothing was changed.
        """
        self.optimizer.zero_grad(set_to_none=True)
        batch = self.batches.batch(step)
        workers = self._workers(batch)
        reports = self._accumulate(batch, workers)
        with _alone(workers):
            if step < self.settings.byte_rows_steps:
                keep_byte_gradients(self.model)
            clip_norm = self.settings.optimizer.clip_norm
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip_norm)
            loss, grad_norm = float(_total(one.loss for one in reports)), float(norm)
            _require_finite(step, loss, grad_norm)
            rate = self.settings.learning_rate.rate(step, self.total_steps)
            set_learning_rate(self.optimizer, rate)
            self.optimizer.step()
        return Update(
            loss=loss,
            loss_by_format=_means(reports),
            grad_norm=grad_norm,
            learning_rate=rate,
            symbols=batch.inputs.size,
            flops=training_flops(self.model.config, batch.segment_ids),
        )

    def _workers(self, batch: Batch) -> int:
        """Threads that take a context each; 1: passes one after the other, all threads in each."""
        if self.place.device.type != "cpu":
            return 1
        # A worker's result may wait for an earlier one's, and one more is being added.
        room = MOST_GRADIENTS_IN_FLIGHT // self.model.config.parameter_count - 1
        wanted = min(torch.get_num_threads(), self._contexts_per_pass(batch))
        return max(1, min(wanted, room))

    def _contexts_per_pass(self, batch: Batch) -> int:
        """Contexts in one micro batch, at least one."""
        contexts, context = batch.inputs.shape
        return min(contexts, max(1, self.settings.micro_batch_symbols // context))

    def _accumulate(self, batch: Batch, workers: int) -> list[LossReport]:
        # What each pass reports stays on the device until the step's end.
        reports = []
        trained = max(1, trained_positions(batch.targets))
        if workers == 1:
            for part in _passes(batch, self._contexts_per_pass(batch)):
                report = self._loss(part, trained)
                report.loss.backward()
                reports.append(_detached(report))
            return reports
        contexts = list(_passes(batch, 1))
        of_context = partial(self._gradients, trained=trained)
        for report, gradients in in_order(of_context, contexts, workers=workers):
            with _alone(workers):
                self._add(gradients)
            reports.append(report)
        return reports

    def _gradients(
        self, batch: Batch, *, trained: int
    ) -> tuple[LossReport, tuple[Tensor | None, ...]]:
        """Loss and every trained parameter's gradient (None: no part in it), nothing changed."""
        report = self._loss(batch, trained)
        gradients = torch.autograd.grad(report.loss, self._trained(), allow_unused=True)
        return _detached(report), gradients

    def _add(self, gradients: tuple[Tensor | None, ...]) -> None:
        for parameter, gradient in zip(self._trained(), gradients, strict=True):
            if parameter.grad is None:
                parameter.grad = gradient
            elif gradient is not None:
                parameter.grad += gradient

    def _trained(self) -> tuple[Tensor, ...]:
        return tuple(value for value in self.model.parameters() if value.requires_grad)

    def _loss(self, batch: Batch, trained: int) -> LossReport:
        device = self.place.device
        with self.place.precision():
            taught = self.teacher.targets(batch) if self.teacher else None
            return self.model.loss(*batch.tensors(device), normalizer=trained, taught=taught)


def _alone(workers: int) -> AbstractContextManager[None]:
    """One torch thread, where others are at work on contexts or were a moment ago."""
    return torch_threads(1) if workers > 1 else nullcontext()


def trained_positions(targets: NDArray[np.int32]) -> int:
    """Positions of ``targets`` ``[B, N, H]`` that train at least one head."""
    return int(np.count_nonzero((targets != IGNORED_TARGET).any(axis=-1)))


def _passes(batch: Batch, contexts: int) -> Iterator[Batch]:
    for first in range(0, len(batch.inputs), contexts):
        part = slice(first, first + contexts)
        yield replace(
            batch,
            inputs=batch.inputs[part],
            targets=batch.targets[part],
            segment_ids=batch.segment_ids[part],
            position_ids=batch.position_ids[part],
            contexts=batch.contexts[part],
        )


def _detached(report: LossReport) -> LossReport:
    return replace(report, loss=report.loss.detach())


def _total(values: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, values)


def _means(reports: Sequence[LossReport]) -> dict[str, float]:
    nats = _total(one.nats for one in reports).tolist()
    counts = _total(one.counts for one in reports).tolist()
    sums = zip(Region, nats, counts, strict=True)
    return {region.name.lower(): total / count for region, total, count in sums if count}


def _require_finite(step: int, loss: float, grad_norm: float) -> None:
    if np.isfinite(loss) and np.isfinite(grad_norm):
        return
    raise TrainingDivergedError(
        f"step {step + 1}: loss is {loss}, gradient norm {grad_norm}; training has diverged"
    )
