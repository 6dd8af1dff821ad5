"""``train``: one run, from its start or from where it stopped, to its end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from proxylm.errors import UsageError
from proxylm.models.language_model import LanguageModel
from proxylm.pool import threads_each
from proxylm.ranks import ALONE, Ranks, joined_ranks
from proxylm.threads import torch_threads
from proxylm.training.callbacks import AnyCallback, Record, watched
from proxylm.training.config import LoopConfig, TrainingConfig
from proxylm.training.event_file import TensorBoard
from proxylm.training.inputs import BatchSource, Inputs, given_inputs, loop_config, open_inputs
from proxylm.training.metrics import MetricsLog
from proxylm.training.run_folder import (
    STAMPS_FOLDER,
    opened_run,
    record_config,
    require_run_folder,
)
from proxylm.training.training_run import Checkpoints, TrainingRun, start_or_resume

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A finished run.

    Attributes:
        run: its folder; None without one.
        steps: updates made.
        symbols: input positions trained on.
        loss: of the last update, nats per symbol.
        held_out: last bits per raw byte, by the format the documents were read in.
        seconds: in training steps, over all starts; held-out reading not counted.
        symbols_per_second: ``symbols / seconds``.
        training_flops: of forward and backward passes.
        parameters: of the model, embedding included.
        raw_bytes: raw bytes of what was shown.
        documents: documents started.
        stopped: why a callback ended the run before its last step; None where it is whole.
        model: the trained model, ready to train on; of several ranks each has its part of it.
    """

    run: str | None
    steps: int
    symbols: int
    loss: float
    held_out: dict[str, float]
    seconds: float
    symbols_per_second: float
    training_flops: float
    parameters: int
    raw_bytes: int
    documents: int
    stopped: str | None
    model: LanguageModel = field(repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """Plain values, as ``proxylm train --json`` prints them."""
        return {name: value for name, value in vars(self).items() if name != "model"}


def train(
    config: TrainingConfig | None = None,
    out: str | os.PathLike[str] | None = None,
    callbacks: Sequence[AnyCallback] = (),
    *,
    model: LanguageModel | None = None,
    batches: BatchSource | None = None,
    **settings: Any,
) -> TrainResult:
    """Train to the end of a run, going on from the newest checkpoint in ``out`` if it has one.

    The run is given as ``config``, or as a ``model`` and ``batches`` with settings of the loop.
    Called again on a finished run it returns its result; on one that a callback has stopped, it
    goes on unless a callback stops it again. On a CPU, a run that was stopped in any way and went
    on has the bits of an uninterrupted one: it keeps the number of threads that it was started with
    (torch's, at most the cores that this process can keep busy). Started by ``torchrun``, all ranks
    call this alike, and make one run together (docs/cluster.md).

    >>> import proxylm as px
    >>> store = px.prepare([b"some text " * 60], held_out_fraction=0.0)
    >>> drawn = px.batches(
    ...     store, px.Mixture.bytes_only(), context=128, contexts_per_step=2, steps=3
    ... )
    >>> model = px.LanguageModel(px.preset("demo", layers=1))
    >>> result = train(model=model, batches=drawn, learning_rate=1e-3)
    >>> result.steps, result.symbols
    (3, 768)

    Args:
        config: the run; the same at every call on one ``out``.
        out: the run folder; new, empty, or a run of the same. None: nothing is written.
        callbacks: called after every step, in this order (``training.callbacks``).
        model: trained in place, on its device; weights of a checkpoint in ``out`` replace its own.
        batches: ``batches(...)``, or anything of ``BatchSource``'s form; one update a batch.
        settings: ``learning_rate`` (a number: constant), ``optimizer``, ``precision``,
            ``micro_batch_symbols``, ``checkpoints``, as in ``LoopConfig``.

    Raises:
        UsageError: ``out`` is something else, is in use, or has another configuration; a setting
            or a callback cannot be used.
        DataError: the data does not fill one step, or is damaged.
        CheckpointError: its checkpoints are damaged, or the disk is full.
        TrainingDivergedError: loss or gradient is not finite any more.
        RankLostError: another rank has ended, or does not answer.
        KeyboardInterrupt: SIGINT or SIGTERM came; the step under way was finished and saved (with
            ``out``).
    """
    folder = None if out is None else Path(out)
    loop = config if isinstance(config, LoopConfig) else loop_config(settings)
    with joined_ranks(loop.parallel.timeout_seconds) as ranks:
        with ranks.together():
            if folder is not None:
                require_run_folder(folder)
            inputs = _inputs(config, model, batches, settings, ranks, folder)
        with ranks.together():
            _require_same_everywhere(inputs, ranks)
        with nullcontext() if folder is None else opened_run(folder, inputs.recorded, ranks):
            run = start_or_resume(folder, inputs, ranks)
            if folder is not None and ranks.is_first:
                record_config(folder, inputs.recorded)
            if not run.finished:
                _to_the_end(run, callbacks)
    return _result(run)


def _require_same_everywhere(inputs: Inputs, ranks: Ranks) -> None:
    """Refuse ranks that would train on different things, such as a node with an older store.

    Raises:
        UsageError: naming the first rank that differs, and in what.
    """
    here = {"host": socket.gethostname()} | inputs.origin.model_dump()
    first, *others = ranks.gather(here)
    for rank, there in enumerate(others, start=1):
        for what in inputs.origin.model_dump():
            if first[what] != there[what]:
                raise UsageError(
                    f"rank {rank} on {there['host']} has another {what.replace('_', ' ')} "
                    f"({there[what]}) than rank 0 on {first['host']} ({first[what]}): give all "
                    "machines the same configuration and the same stores"
                )


def _inputs(
    config: TrainingConfig | None,
    model: LanguageModel | None,
    batches: BatchSource | None,
    settings: dict[str, Any],
    ranks: Ranks,
    folder: Path | None,
) -> Inputs:
    if config is None and model is not None and batches is not None:
        return given_inputs(model, batches, settings)
    if config is None or model is not None or batches is not None or settings:
        raise UsageError("train: give a configuration alone, or a model and batches")
    if not isinstance(config, TrainingConfig):
        raise UsageError(f"train: expected a TrainingConfig, found {type(config).__name__}")
    inputs = open_inputs(config, ranks, None if folder is None else folder / STAMPS_FOLDER)
    if inputs.total_steps < config.total_steps:
        logger.warning(
            "the data ends after %d of %d steps (mixing.when_exhausted: stop): the run ends there",
            inputs.total_steps,
            config.total_steps,
        )
    return inputs


def _to_the_end(run: TrainingRun, callbacks: Sequence[AnyCallback]) -> None:
    readers = [] if run.inputs.held_out is None else [run.inputs.held_out]
    with (
        torch_threads(_threads_of(run)),
        # Without a folder there is nothing to save, and nothing to wait for.
        stop_on_signal(run.interrupt, run.ranks) if run.folder else nullcontext(),
        watched(run, [*readers, *callbacks, *_keepers(run)]) as after_step,
    ):
        while run.goes_on:
            after_step(run.advance())
    if run.signal and not run.finished:
        logger.warning(
            "%s: stopped by %s after step %d of %d, which is saved; the same command goes on",
            run.folder,
            run.signal,
            run.step,
            run.total_steps,
        )
        run.ranks.barrier()
        raise KeyboardInterrupt


def _keepers(run: TrainingRun) -> list[AnyCallback]:
    """What ends every step: all ranks agree to stop, and what they have made is written."""

    def agree(run: TrainingRun, record: Record) -> None:
        run.agree_to_stop()

    if run.folder is None:
        return [agree]
    if not run.ranks.is_first:
        return [agree, Checkpoints(None)]
    log = MetricsLog()
    return [agree, log, *TensorBoard.if_installed(), Checkpoints(log)]


def _threads_of(run: TrainingRun) -> int:
    """Those that the run was started with; ranks share a machine as it is here."""
    if run.ranks.is_alone:
        return run.state.threads
    return min(run.state.threads, threads_each(run.ranks.on_machine))


@contextmanager
def stop_on_signal(ask: Callable[[str], None], ranks: Ranks = ALONE) -> Iterator[None]:
    """Within, the first SIGINT or SIGTERM calls ``ask`` with its name; a second one acts as ever.

    Of several ranks each may get both the launcher's and the scheduler's: there every one asks, and
    the launcher kills who does not end in time. Outside the main thread signals cannot be caught,
    and nobody is asked.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        ask(signal.Signals(number).name)
        if ranks.is_alone:
            restore()

    for number in STOP_SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()


def _result(run: TrainingRun) -> TrainResult:
    state = run.state
    assert state.loss is not None, "a run has at least one step"
    return TrainResult(
        run=None if run.folder is None else str(run.folder),
        steps=state.step,
        symbols=state.symbols,
        loss=state.loss,
        held_out=state.held_out,
        seconds=state.seconds,
        symbols_per_second=state.symbols / state.seconds,
        training_flops=state.training_flops,
        parameters=run.model.config.parameter_count,
        raw_bytes=state.raw_bytes,
        documents=state.documents,
        stopped=None if run.finished else run.stop_reason,
        model=run.model,
    )
