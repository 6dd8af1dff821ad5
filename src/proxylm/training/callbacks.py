"""Callbacks: what watches a run, adds numbers to its record, or ends it.

A callback is a function ``f(run, record)``, called after every step, or an object with any of the
methods of ``Callback``. ``run`` is the ``TrainingRun``: its ``step``, ``total_steps`` and
``model``, ``evaluating()`` (the model as its users see it, for a moment), ``is_due(every_steps)``,
``history()`` and ``stop(reason)``. ``record`` holds the step's metrics, and what callbacks before
this one have added. What a call returns, a mapping of names to numbers, texts, lists or mappings,
is added, and so stands in ``metrics.jsonl``.

An exception in a callback ends the run with the traceback it has; the newest checkpoint is whole,
and the same call goes on from there. A run that goes on calls its callbacks from the step after
that checkpoint: what one of them has to know of the steps before, it reads from ``run.history()``
when it starts (``EarlyStopping`` does).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from proxylm.errors import UsageError, one_line
from proxylm.generation.options import generation_options
from proxylm.inputs import as_documents
from proxylm.json_lines import json_line
from proxylm.training.run_folder import flat

if TYPE_CHECKING:
    from proxylm.training.training_run import TrainingRun

logger = logging.getLogger(__name__)

Record = dict[str, Any]
Added = Mapping[str, Any] | None


class Callback:
    """Base of the callbacks here; other objects need only the methods that they have."""

    def on_start(self, run: TrainingRun) -> None:
        """Called before the first step of this start; never for a run that is done already."""

    def on_step(self, run: TrainingRun, record: Record) -> Added:
        """Called after every step; what it returns is added to the record."""

    def on_end(self, run: TrainingRun) -> None:
        """Called after the last step of this start, and also when an error ends it."""


StepFunction = Callable[["TrainingRun", Record], Added]
AnyCallback = Callback | StepFunction


@contextmanager
def watched(
    run: TrainingRun, callbacks: Sequence[AnyCallback]
) -> Iterator[Callable[[Record], None]]:
    """Within, the callbacks are at work; yields what tells them of a step.

    Raises:
        UsageError: something is no callback, or gives what cannot be recorded.
    """
    steps = [_step_of(callback) for callback in callbacks]

    def after_step(record: Record) -> None:
        for callback, on_step in zip(callbacks, steps, strict=True):
            _add(record, on_step(run, record), callback)

    with ExitStack() as stack:
        for callback in callbacks:
            getattr(callback, "on_start", _nothing)(run)
            stack.callback(getattr(callback, "on_end", _nothing), run)
        yield after_step


def _step_of(callback: Any) -> StepFunction:
    on_step = getattr(callback, "on_step", callback)
    if callable(on_step):
        return on_step
    if hasattr(callback, "on_start") or hasattr(callback, "on_end"):
        return _nothing
    raise UsageError(
        f"callbacks: {_name(callback)} is none; give functions f(run, record), or objects with "
        "on_start, on_step or on_end"
    )


def _nothing(*_: Any) -> None:
    pass


def _add(record: Record, added: Any, callback: Any) -> None:
    if added is None or added is False:  # a lambda's ``condition and action`` is no answer
        return
    if not isinstance(added, Mapping):
        raise UsageError(
            f"{_name(callback)}: expected a mapping of names to what is to be recorded, or None, "
            f"found {type(added).__name__}"
        )
    taken = sorted(record.keys() & added.keys())
    if taken:
        raise UsageError(f"{_name(callback)}: the record has a '{taken[0]}' already; rename it")
    try:
        json_line(added)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{_name(callback)}: what it returns cannot be recorded ({one_line(error)}); give "
            "finite numbers, texts, lists or mappings"
        ) from None
    record.update(added)


def _name(callback: Any) -> str:
    return getattr(callback, "__qualname__", type(callback).__qualname__)


class EarlyStopping(Callback):
    """Ends a run when a number has not fallen below its least value for a while.

    A run that goes on has the patience that an uninterrupted one would have: the steps before are
    read from the run's metrics.

    >>> stopping = EarlyStopping("held_out.raw", patience=3)

    Args:
        metric: name of the number in the record, inner ones after a dot (``held_out.raw``). Steps
            without it do not count. Less is better: return the negative of a number that should
            rise.
        patience: how often it may fail to fall; at least 1.

    Raises:
        UsageError: no such patience.
    """

    def __init__(self, metric: str, patience: int) -> None:
        if patience < 1:
            raise UsageError(f"EarlyStopping: patience must be 1 or more, not {patience}")
        self.metric, self.patience = metric, patience

    def on_start(self, run: TrainingRun) -> None:
        """See what the steps before have had."""
        self._least, self._in_vain = math.inf, 0
        for record in run.history():
            self.on_step(run, record)

    def on_step(self, run: TrainingRun, record: Record) -> None:
        """Compare the number, where the record has it."""
        value = dict(flat(record)).get(self.metric)
        if not isinstance(value, int | float):
            return
        self._in_vain = 0 if value < self._least else self._in_vain + 1
        self._least = min(value, self._least)
        if self._in_vain >= self.patience:
            run.stop(f"{self.metric} has not fallen below {self._least:.4g} {self.patience} times")

    def on_end(self, run: TrainingRun) -> None:
        """Say so where the number was never there: its name may be mistyped."""
        if math.isinf(self._least):
            logger.warning(
                "EarlyStopping: no record of this run has a '%s' that is a number", self.metric
            )


class Sample(Callback):
    """Lets the model under training continue a text, so that a reader sees what it has learned.

    The record has the new bytes as text (invalid UTF-8 as U+FFFD) under ``name``.

    >>> sample = Sample(b"def ", every_steps=100, max_new_bytes=60, temperature=0.7)

    Args:
        prompt: the bytes to continue.
        every_steps: updates between samples; the last step has one, too.
        name: in the record; samples of several prompts need one each.
        options: fields of ``GenerationOptions``.

    Raises:
        UsageError: no such option or number of steps; the prompt is no ``bytes``.
    """

    def __init__(
        self,
        prompt: bytes,
        *,
        every_steps: int,
        name: str = "sample",
        **options: Any,
    ) -> None:
        if every_steps < 1:
            raise UsageError(f"Sample: every_steps must be 1 or more, not {every_steps}")
        [self.prompt] = as_documents([prompt], kind="prompt")
        self.options = generation_options(**options)
        self.every_steps, self.name = every_steps, name

    def on_step(self, run: TrainingRun, record: Record) -> Added:
        """Generate, where it is due."""
        if not run.is_due(self.every_steps):
            return None
        with run.evaluating() as model:
            [written] = model.complete([self.prompt], self.options)
        return {self.name: written.data.decode(errors="replace")}
