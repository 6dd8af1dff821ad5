"""Several bytes per pass beside one, on a model of eight heads that the benchmark trains itself.

The model (the ``demo`` size, one shared head and seven raw ones) learns this interpreter's
standard library for a few minutes and continues held-out files of it; ``bench.drafts`` says how
that is measured.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from proxylm.bench.drafts import measure_drafts, stretches
from proxylm.bench.report import BenchmarkRow
from proxylm.corpus.config import STANDARD_LIBRARY, CorpusConfig
from proxylm.corpus.opening import open_corpus
from proxylm.data.mixture import Mixture
from proxylm.data.sources import SourceConfig
from proxylm.data.store.prepare import prepare_store
from proxylm.data.store.store import ViewStore
from proxylm.generation.loading import load
from proxylm.models.language_model import LanguageModel
from proxylm.progress import TellCount, untold
from proxylm.training.config import CheckpointConfig, PresetModel, StepCount, TrainingConfig
from proxylm.training.progress import TellSteps
from proxylm.training.run import train
from proxylm.training.schedule import CosineRate

HEADS = {"prediction_heads": 1, "raw_prediction_heads": 7}
SYMBOLS_PER_STEP = 1024
TRAINING_STEPS = 2400
MAX_DOCUMENT_BYTES = 16_000
"""Longer files are left out: in a short training they would be most of what the model sees."""
HELD_OUT_FRACTION = 0.05
PROMPTS = 64
PROMPT_BYTES = 192
NEW_BYTES = 256


def train_on_standard_library(
    folder: Path, steps: int, progress: TellCount = untold
) -> tuple[LanguageModel, ViewStore]:
    """The benchmark's model, and the store whose held-out documents it has not seen."""
    store, run = folder / "store", folder / "run"
    source = CorpusConfig(path=STANDARD_LIBRARY, max_document_bytes=MAX_DOCUMENT_BYTES)
    corpus = open_corpus(source)
    prepare_store(corpus, {}, store, held_out_fraction=HELD_OUT_FRACTION)
    config = TrainingConfig(
        data=(SourceConfig(store=str(store)),),
        mixing=Mixture.bytes_only(),
        model=PresetModel(name="demo", overrides=HEADS),
        length=StepCount(steps=steps),
        symbols_per_step=SYMBOLS_PER_STEP,
        learning_rate=CosineRate(peak=4e-3, warmup_steps=min(100, steps // 4)),
        device="cpu",
        checkpoints=CheckpointConfig(every_steps=steps, keep_last=1),
        held_out=None,
    )
    train(config, run, [TellSteps(progress)])
    return load(run).module, ViewStore.open(store)


def run_multi_byte_benchmark(
    *,
    steps: int = TRAINING_STEPS,
    prompts: int = PROMPTS,
    prompt_bytes: int = PROMPT_BYTES,
    new_bytes: int = NEW_BYTES,
    progress: TellCount = untold,
) -> list[BenchmarkRow]:
    """Train, then measure: rows ``generate/chain``, ``generate/tree``, and what stands behind."""
    with TemporaryDirectory() as folder:
        model, store = train_on_standard_library(Path(folder), steps, progress)
        documents = [store.raw(int(ordinal)).tobytes() for ordinal in store.ordinals(held_out=True)]
    texts = stretches(documents, prompts, prompt_bytes + new_bytes)
    return measure_drafts("generate", model, texts, prompt_bytes, sampled=True, progress=progress)
