"""What ranks do in tests, by name, so that started processes find it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from proxylm.data.batch import Batch
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import COMPRESSED_OFFSET, RAW_OFFSET, vocabulary_size
from proxylm.training.callbacks import Record
from proxylm.training.run import train
from proxylm.training.training_run import TrainingRun
from small_runs import CONTEXT, SYMBOL_COUNT, TINY_SIZES, tiny_config

EVA = TINY_SIZES | {"raw_prediction_heads": 3}
CAUSAL = TINY_SIZES | {"attention": {"kind": "causal", "kv_heads": 1}, "raw_prediction_heads": 1}


def changes(sizes: dict[str, Any] = EVA, **others: Any) -> dict[str, Any]:
    """Settings of a run on several ranks; five contexts a step, which no number of them divides."""
    explicit = {"kind": "explicit", "sizes": sizes}
    return {"model": explicit, "symbols_per_step": 5 * CONTEXT, "micro_batch_symbols": CONTEXT} | (
        others
    )


def trained(store: Path, out: Path, steps: int, settings: dict[str, Any]) -> None:
    """A run to its end."""
    train(tiny_config(store, steps=steps, **settings), out)


def trained_where(folders: list[Path], out: Path, settings: dict[str, Any]) -> None:
    """A run in which each rank stands in a folder of its own, and finds its ``store`` there."""
    os.chdir(folders[int(os.environ["RANK"])])
    train(tiny_config(Path("store"), steps=2, **settings), out)


def trained_until(
    store: Path, out: Path, steps: int, settings: dict[str, Any], last: int
) -> str | None:
    """A run that the last rank alone stops after a step; why it stopped, as each rank knows it."""

    def stop(run: TrainingRun, record: Record) -> None:
        if run.step == last and run.ranks.rank == run.ranks.world - 1:
            run.stop("enough")

    return train(tiny_config(store, steps=steps, **settings), out, [stop]).stopped


@dataclass
class UnevenBatches:
    """Two contexts a step: the first of raw bytes alone, the second of compressed symbols alone."""

    heads: int
    fingerprint: str = "u" * 32

    def __len__(self) -> int:
        return 4

    def batch(self, step: int) -> Batch:
        generator = np.random.default_rng(step)
        raw = generator.integers(RAW_OFFSET, COMPRESSED_OFFSET, (1, CONTEXT))
        compressed = generator.integers(
            COMPRESSED_OFFSET, vocabulary_size(SYMBOL_COUNT), (1, CONTEXT)
        )
        inputs = np.concatenate([raw, compressed]).astype(np.int32)
        targets = np.stack([np.roll(inputs, -1 - head, axis=1) for head in range(self.heads)], 2)
        return Batch(
            inputs=inputs,
            targets=targets,
            segment_ids=np.zeros_like(inputs),
            position_ids=np.tile(np.arange(CONTEXT, dtype=np.int32), (2, 1)),
            contexts=np.arange(2, dtype=np.int64) + 2 * step,
        )


def trained_on_uneven(out: Path) -> None:
    """A model with raw heads over ``UnevenBatches``, given as objects."""
    config = tiny_config(Path("none"), **changes()).model_for(SYMBOL_COUNT)
    batches = UnevenBatches(config.target_heads)
    train(model=LanguageModel(config, seed=2), batches=batches, out=out, learning_rate=1e-3)
