"""One update: a global batch in micro batches that fit, gradients added exactly, clip, AdamW.

A step is a pure function of the model, the optimizer and the step's number: nothing else is
carried, so a run that stops and goes on makes the same updates.

Several ranks make one update together: each has its share of the contexts (``reading``), whose
losses are divided by the trained positions of all of them, and what they report is added once.

On a CPU the contexts of a step are handed out to threads, one each at a time, and their gradients
added in the contexts' order (``proxylm.threads`` says why). The rest of an update, a few passes
over the weights, then stays on one thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial, reduce

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
from proxylm.ranks import ALONE, Ranks
from proxylm.symbols import IGNORED_TARGET
from proxylm.threads import in_order, torch_threads
from proxylm.training.byte_rows import keep_byte_gradients
from proxylm.training.config import LoopConfig
from proxylm.training.device import Place
from proxylm.training.distillation import Teacher
from proxylm.training.optimizer import set_learning_rate
from proxylm.training.reading import (
    StepBatches,
    as_halves,
    contexts_of,
    from_halves,
    hash_sum,
    without_filling,
)
from proxylm.training.sharding import whole

MOST_GRADIENTS_IN_FLIGHT = 1 << 28
"""Numbers in the gradients of single contexts that exist at a time: a gibibyte. A large model has
few workers by it, or one; torch's own parallel loops are long enough there."""


class TrainingDivergedError(ProxylmError):
    """The loss or the gradient is not a number any more; checkpoints are from before."""


@dataclass(frozen=True, kw_only=True)
class Update:
    """What one update did.

    Attributes:
        loss: mean over the step's trained positions, nats.
        loss_by_head: for each head, mean nats over targets of each kind that occurred, as far as
            they are numbers.
        grad_norm: norm of the whole gradient before the clip.
        learning_rate: of this update.
        symbols: input positions.
        contexts_hash: of the step's contexts, the same for any number of ranks.
        flops: floating-point operations that its forward and backward passes need.
        is_spike: whether it was not made, because its loss has jumped up.
        waited_seconds: for the step's contexts, of this rank; updates are alike without it.
    """

    loss: float
    loss_by_head: list[dict[str, float]]
    grad_norm: float
    learning_rate: float
    symbols: int
    contexts_hash: str
    flops: int
    is_spike: bool
    waited_seconds: float = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """The parts of a run that its updates change or read.

    ``batches`` are this rank's, ``model`` is divided among the ranks if there are several.
    """

    model: LanguageModel
    optimizer: torch.optim.Optimizer
    batches: StepBatches
    settings: LoopConfig
    place: Place
    total_steps: int
    ranks: Ranks = ALONE
    teacher: Teacher | None = None

    def update(self, step: int, losses_before: Sequence[float] = ()) -> Update:
        """Make update ``step`` (0-based), unless its loss is a spike after ``losses_before``.

        Raises:
            TrainingDivergedError: loss or gradient is NaN or infinite; nothing was changed.
        """
        self.optimizer.zero_grad(set_to_none=True)
        asked = time.perf_counter()
        batch = self.batches.batch(step)
        waited = time.perf_counter() - asked
        workers = self._workers(batch)
        reports = self._accumulate(batch, workers)
        sums = self._sums(batch, reports)
        with _alone(workers):
            if step < self.settings.byte_rows_steps:
                keep_byte_gradients(self.model)
            grad_norm = self._clip()
            spikes = self.settings.loss_spikes
            is_spike = spikes is not None and spikes.has(sums.loss, grad_norm, losses_before)
            rate = self.settings.learning_rate.rate(step, self.total_steps)
            if not is_spike:
                _require_finite(step, sums.loss, grad_norm)
                set_learning_rate(self.optimizer, rate)
                self.optimizer.step()
        return Update(
            loss=sums.loss,
            loss_by_head=sums.loss_by_head,
            grad_norm=grad_norm,
            learning_rate=rate,
            symbols=sums.symbols,
            contexts_hash=sums.contexts_hash,
            flops=sums.flops,
            is_spike=is_spike,
            waited_seconds=waited,
        )

    def _sums(self, batch: Batch, reports: Sequence[LossReport]) -> _Sums:
        """What all ranks have computed in the step, exchanged once."""
        own = without_filling(batch)
        values = [
            float(_total(one.loss for one in reports)),
            own.inputs.size,
            training_flops(self.model.config, own.segment_ids),
            *as_halves(hash_sum(own)),
            *_total(one.nats for one in reports).flatten().tolist(),
            *_total(one.counts for one in reports).flatten().tolist(),
        ]
        return _Sums.of(self.ranks.sum(values))

    def _clip(self) -> float:
        """Norm of the whole gradient, which is clipped."""
        clip_norm = self.settings.optimizer.clip_norm
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip_norm)
        return float(whole(norm))

    def _workers(self, batch: Batch) -> int:
        """Threads that take a context each; 1: passes one after the other, all threads in each."""
        if self.place.device.type != "cpu" or not self.ranks.is_alone:
            return 1
        # A worker's result may wait for an earlier one's, and one more is being added.
        room = MOST_GRADIENTS_IN_FLIGHT // self.model.config.parameter_count - 1
        wanted = min(torch.get_num_threads(), self._contexts_per_pass(batch))
        return max(1, min(wanted, room))

    def _contexts_per_pass(self, batch: Batch) -> int:
        """Contexts in one micro batch, at least one."""
        contexts, context = batch.inputs.shape
        return min(contexts, self.settings.contexts_per_pass(context))

    def _accumulate(self, batch: Batch, workers: int) -> list[LossReport]:
        # What each pass reports stays on the device until the step's end.
        reports = []
        [positions] = self.ranks.sum([trained_positions(batch.targets)])
        trained = max(1, int(positions))
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
        yield contexts_of(batch, slice(first, first + contexts))


def _detached(report: LossReport) -> LossReport:
    return replace(report, loss=report.loss.detach())


def _total(values: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """What the ranks' reports of a step add up to."""

    loss: float
    loss_by_head: list[dict[str, float]]
    symbols: int
    contexts_hash: str
    flops: int

    @classmethod
    def of(cls, values: Sequence[float]) -> _Sums:
        loss, symbols, flops, high, low, *by_head = values
        nats, counts = np.array(by_head).reshape(2, -1, len(Region)).tolist()
        return cls(
            loss=loss,
            loss_by_head=[_means(*of_head) for of_head in zip(nats, counts, strict=True)],
            symbols=int(symbols),
            contexts_hash=from_halves(high, low),
            flops=int(flops),
        )


def _means(nats: Sequence[float], counts: Sequence[float]) -> dict[str, float]:
    sums = zip(Region, nats, counts, strict=True)
    return {
        region.name.lower(): total / count
        for region, total, count in sums
        if count and np.isfinite(total)
    }


def _require_finite(step: int, loss: float, grad_norm: float) -> None:
    if np.isfinite(loss) and np.isfinite(grad_norm):
        return
    raise TrainingDivergedError(
        f"step {step + 1}: loss is {loss}, gradient norm {grad_norm}; training has diverged"
    )
