"""What ranks do in tests, by name, so that started processes find it."""

from __future__ import annotations

import io
import os
import resource
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from proxylm.checkpoints.checkpoint import Origin, TrainingState, save_checkpoint
from proxylm.cli.main import run as run_command
from proxylm.data.batch import Batch
from proxylm.models.language_model import LanguageModel
from proxylm.models.presets import preset
from proxylm.ranks import Ranks, joined_ranks
from proxylm.symbols import COMPRESSED_OFFSET, RAW_OFFSET, vocabulary_size
from proxylm.training.callbacks import Record
from proxylm.training.config import ParallelConfig
from proxylm.training.device import Place, place_for
from proxylm.training.run import train
from proxylm.training.sharding import draw_weights, empty_sharded_model, shard, whole_copy
from proxylm.training.training_run import TrainingRun
from small_runs import CONTEXT, SYMBOL_COUNT, TINY_SIZES, tiny_config

WORDS = b"def x = y"
EVA = TINY_SIZES | {"raw_prediction_heads": 3}
CAUSAL = TINY_SIZES | {"attention": {"kind": "causal", "kv_heads": 1}, "raw_prediction_heads": 1}


def changes(sizes: dict[str, Any] = EVA, **others: Any) -> dict[str, Any]:
    """Settings of a run on several ranks; five contexts a step, which no number of them divides."""
    explicit = {"kind": "explicit", "sizes": sizes}
    sizes_of_a_step = {"symbols_per_step": 5 * CONTEXT, "micro_batch_symbols": CONTEXT}
    saving = {"checkpoints": {"every_steps": 4, "keep_last": 2}}
    return {"device": "cpu", "model": explicit} | sizes_of_a_step | saving | others


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
    """A run that the last rank alone stops after a step; why it stopped, as each rank knows it.

    The bits per byte of ``WORDS`` are in its records.
    """

    def stop(run: TrainingRun, record: Record) -> Record:
        if run.step == last and run.ranks.rank == run.ranks.world - 1:
            run.stop("enough")
        with run.evaluating() as model:
            return {"words": model.bits_per_byte([WORDS])[0]}

    return train(tiny_config(store, steps=steps, **settings), out, [stop]).stopped


def drawn(settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """Weights of a new model that ranks have drawn together, each its share."""
    config = tiny_config(Path("none"), **settings)
    with joined_ranks(60) as ranks:
        sizes, place = config.model_for(SYMBOL_COUNT), place_for(config)
        model = empty_sharded_model(sizes, ranks, config.parallel, place)
        draw_weights(model, config.seed, ranks)
        return {name: value.numpy() for name, value in whole_copy(model).state_dict().items()}


def saved_where_names_come_late(folder: Path) -> None:
    """A checkpoint of ranks that do not see the files of each other in a folder."""
    listed, other = Path.iterdir, f"shard-{2 - int(os.environ['RANK']):05d}"

    def own(path: Path) -> Iterator[Path]:
        return (one for one in listed(path) if not one.name.startswith(other))

    Path.iterdir = own  # type: ignore[method-assign,assignment]
    with joined_ranks(60) as ranks:
        save_checkpoint(
            folder,
            model_tensors={f"weight{ranks.rank}": torch.ones(3)},
            optimizer_tensors={},
            model_config=ParallelConfig(),
            state=TrainingState(step=1),
            origin=Origin(),
            ranks=ranks,
        )


def largest_model_on_meta() -> int:
    """Bytes of memory that this process has used at most, once the largest preset is divided."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", rank=0, world_size=64, store=FakeStore())
    with torch.device("meta"):
        model = LanguageModel(preset("evabyte-14b"))
    place = Place.of(torch.device("cpu"), "bfloat16")
    shard(model, Ranks(rank=0, world=64, on_machine=8), ParallelConfig(), place)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass(frozen=True)
class Ended:
    """What a command has left of itself."""

    status: int
    stdout: str
    stderr: str


def command_where(folders: list[Path], arguments: list[str]) -> Ended:
    """The command line of a rank that stands in a folder of its own."""
    os.chdir(folders[int(os.environ["RANK"])])
    return command(arguments)


def command(arguments: list[str]) -> Ended:
    """The command line, in this process."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr):
        status = run_command(arguments)
    return Ended(status, stdout.getvalue(), stderr.getvalue())


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
