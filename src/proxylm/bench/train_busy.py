"""Whole updates of the demo's byte model: on a quiet machine, and beside spinning processes.

``train/demo`` sets contexts handed out to threads beside the same update divided by torch, an
operation at a time. ``train/busy`` runs beside as many spinning processes as there are cores: half
of the quiet speed is then the fair share.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np

from proxylm.bench.report import BenchmarkRow, alternate
from proxylm.bench.train_step import document_layout
from proxylm.data.batch import Batch
from proxylm.data.mixture import Mixture
from proxylm.demo.settings import DemoSettings
from proxylm.models.language_model import LanguageModel
from proxylm.pool import usable_cores
from proxylm.symbols import COMPRESSED_OFFSET, RAW_OFFSET
from proxylm.training.config import TrainingConfig
from proxylm.training.device import place_for
from proxylm.training.loop import Trainer
from proxylm.training.optimizer import build_optimizer

STEPS = 10
_START_SECONDS = 0.5
_SPIN = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""


class RandomBytes:
    """Contexts of random bytes, four documents each; the speed does not depend on them."""

    def __init__(self, contexts: int, context: int) -> None:
        generator = np.random.default_rng(0)
        shape = contexts, context
        ids = generator.integers(RAW_OFFSET, COMPRESSED_OFFSET, shape, dtype=np.int32)
        documents = document_layout(context).repeat(contexts, axis=0).astype(np.int32)
        starts = np.searchsorted(documents[0], documents[0])
        self._batch = Batch(
            inputs=ids,
            targets=np.roll(ids, -1, axis=1)[..., None],
            segment_ids=documents,
            position_ids=(np.arange(context) - starts).astype(np.int32)[None].repeat(contexts, 0),
            contexts=np.arange(contexts, dtype=np.int64),
        )

    def batch(self, step: int) -> Batch:
        """The same contexts at every step."""
        return self._batch


class DividedByTorch(Trainer):
    """The same update with all threads in every operation."""

    def _workers(self, batch: Batch) -> int:
        return 1


def run_busy_benchmark(*, steps: int = STEPS, repeats: int = 3) -> list[BenchmarkRow]:
    """Rows ``train/demo`` and ``train/busy``, symbols/s."""
    config = DemoSettings().training(Mixture.bytes_only(), Path("unused"))
    handed_out, divided = (trainer_of(kind, config) for kind in (Trainer, DividedByTorch))
    symbols = steps * config.symbols_per_step
    seconds = alternate(
        lambda: _updates(handed_out, steps), lambda: _updates(divided, steps), repeats=repeats
    )
    quiet, busy = quiet_and_busy_seconds(handed_out, steps, repeats)
    by_torch = "the same update, each operation divided among torch's threads"
    fair_share = f"half of the quiet speed ({usable_cores()} spinning processes beside it)"
    return [
        BenchmarkRow.of_rates("train/demo", symbols, "symbols/s", seconds, by_torch),
        BenchmarkRow.of_rates("train/busy", symbols, "symbols/s", (busy, 2 * quiet), fair_share),
    ]


def trainer_of(kind: type[Trainer], config: TrainingConfig) -> Trainer:
    """A new byte model with its optimizer, on random bytes."""
    model = LanguageModel(config.model_for(0))
    return kind(
        model=model,
        optimizer=build_optimizer(model, config.optimizer),
        batches=RandomBytes(config.contexts_per_step, config.context),
        settings=config,
        place=place_for(config),
        total_steps=config.total_steps,
    )


def quiet_and_busy_seconds(trainer: Trainer, steps: int, repeats: int) -> tuple[float, float]:
    """Median seconds of so many updates without and with spinning processes, in turn."""
    quiet, busy = [], []
    for _ in range(repeats):
        quiet.append(_updates(trainer, steps))
        with spinning_processes(usable_cores()):
            busy.append(_updates(trainer, steps))
    return median(quiet), median(busy)


@contextmanager
def spinning_processes(count: int) -> Iterator[Sequence[subprocess.Popen[bytes]]]:
    """Processes that compute until they are killed afterwards, or this process is gone."""
    command = [sys.executable, "-c", _SPIN, str(os.getpid())]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        time.sleep(_START_SECONDS)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _updates(trainer: Trainer, steps: int) -> float:
    started = time.perf_counter()
    for step in range(steps):
        trainer.update(step)
    return time.perf_counter() - started
