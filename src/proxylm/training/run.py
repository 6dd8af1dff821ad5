"""``train``: one run, from its start or from where it stopped, to its end."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proxylm.errors import DataError
from proxylm.threads import torch_threads
from proxylm.training.config import TrainingConfig
from proxylm.training.metrics import MetricsLog
from proxylm.training.progress import ProgressReport
from proxylm.training.run_folder import opened_run, record_config, require_run_folder
from proxylm.training.session import Inputs, Session, open_inputs, start_or_resume
from proxylm.training.stopping import StopRequest, stop_on_signal

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A finished run.

    Attributes:
        run: its folder.
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
    """

    run: str
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

    def as_json(self) -> dict[str, Any]:
        """Plain values, as ``proxylm train --json`` prints them."""
        return asdict(self)


def train(
    config: TrainingConfig, out: str | os.PathLike[str], *, progress: ProgressReport | None = None
) -> TrainResult:
    """Train to the end of the run in ``out``, going on from its newest checkpoint if it has one.

    Called again on a finished run it returns its result. On a CPU, a run that was stopped in any
    way and went on has the bits of an uninterrupted one: it keeps the number of threads that it
    was started with (torch's, at most the cores that this process can keep busy).

    Args:
        config: the run; the same at every call on one ``out``.
        out: the run folder; new, empty, or a run with this configuration.
        progress: called after every step.

    Raises:
        UsageError: ``out`` is something else, is in use, or has another configuration.
        CheckpointError: its checkpoints are damaged, or the disk is full.
        TrainingDivergedError: loss or gradient is not finite any more.
        KeyboardInterrupt: SIGINT or SIGTERM came; the step under way was finished and saved.
    """
    run = Path(out)
    require_run_folder(run)
    inputs = open_inputs(config)
    _check_length(inputs)
    with opened_run(run, config.resolved()):
        session = start_or_resume(run, inputs)
        record_config(run, config.resolved())
        with (
            torch_threads(session.state.threads),
            MetricsLog(run, resumed_step=session.state.step) as log,
            stop_on_signal() as stop,
        ):
            _to_the_end(session, log, stop, progress)
    return _result(session)


def _check_length(inputs: Inputs) -> None:
    steps, wanted = inputs.total_steps, inputs.config.total_steps
    if steps < 1:
        raise DataError("data: it does not fill the contexts of one step; use more or smaller ones")
    if steps < wanted:
        logger.warning(
            "the data ends after %d of %d steps (mixing.when_exhausted: stop): the run ends there",
            steps,
            wanted,
        )


def _to_the_end(
    session: Session, log: MetricsLog, stop: StopRequest, progress: ProgressReport | None
) -> None:
    while not session.finished:
        record = session.advance()
        log.write(record)
        if progress:
            progress(record, session.inputs.total_steps)
        if session.save_is_due() or stop.signal_name:
            log.sync()
            session.save()
        if stop.signal_name and not session.finished:
            logger.warning(
                "%s: stopped by %s after step %d of %d, which is saved; the same command goes on",
                session.folder,
                stop.signal_name,
                session.state.step,
                session.inputs.total_steps,
            )
            raise KeyboardInterrupt


def _result(session: Session) -> TrainResult:
    state = session.state
    assert state.loss is not None, "a run has at least one step"
    return TrainResult(
        run=str(session.folder),
        steps=state.step,
        symbols=state.symbols,
        loss=state.loss,
        held_out=state.held_out,
        seconds=state.seconds,
        symbols_per_second=state.symbols / state.seconds,
        training_flops=state.training_flops,
        parameters=session.trainer.model.config.parameter_count,
        raw_bytes=state.raw_bytes,
        documents=state.documents,
    )
