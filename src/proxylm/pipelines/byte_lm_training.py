"""Training the byte LM with the project's own trainer, in a work folder that can be gone on with.

The work folder holds a raw view store of the training part and an ordinary run. A training that
was stopped in any way goes on from its newest checkpoint when it is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import PositiveInt

from proxylm.compressors.neural.byte_lm.model import ByteLM
from proxylm.compressors.neural.byte_lm.training_contexts import Contexts, TrainingPart
from proxylm.config import Config
from proxylm.corpus.contract import Corpus
from proxylm.data.mixture import Mixture
from proxylm.data.sources import SourceConfig
from proxylm.data.store.prepare import prepare_store
from proxylm.device import DeviceName
from proxylm.generation.loading import load
from proxylm.training.callbacks import AnyCallback
from proxylm.training.config import CheckpointConfig, PresetModel, SymbolCount, TrainingConfig
from proxylm.training.run import train
from proxylm.training.schedule import CosineRate

STORE_FOLDER = "store"
RUN_FOLDER = "run"


class LmRecipe(Config):
    """How a byte LM of one size is trained.

    Attributes:
        model: its size, a preset in ``proxylm.models.presets``.
        symbols: input symbols of the whole training.
        symbols_per_step: input symbols of one update.
        learning_rate: warm-up, peak and cosine.
        seed: of weights and order.
    """

    model: PresetModel
    symbols: PositiveInt
    symbols_per_step: PositiveInt
    learning_rate: CosineRate
    seed: int = 0

    def training(self, store: Path, device: DeviceName) -> TrainingConfig:
        """The run on a raw store."""
        steps = -(-self.symbols // self.symbols_per_step)
        warmup = min(self.learning_rate.warmup_steps, steps // 4)
        return TrainingConfig(
            data=(SourceConfig(store=str(store)),),
            mixing=Mixture.bytes_only(sentinels=False),
            model=self.model,
            length=SymbolCount(symbols=self.symbols),
            symbols_per_step=self.symbols_per_step,
            micro_batch_symbols=min(16_384, self.symbols_per_step),
            learning_rate=self.learning_rate.model_copy(update={"warmup_steps": warmup}),
            seed=self.seed,
            device=device,
            checkpoints=CheckpointConfig(every_steps=max(1, steps // 20), keep_last=1),
            held_out=None,
        )


RECIPES: dict[str, LmRecipe] = {
    "tiny": LmRecipe(
        model=PresetModel(name="byte-lm-tiny"),
        symbols=640 * 4096,
        symbols_per_step=4096,
        learning_rate=CosineRate(peak=4e-3, warmup_steps=50),
    ),
    "40m": LmRecipe(
        model=PresetModel(name="byte-lm-40m"),
        symbols=200_000 * 65_536,
        symbols_per_step=65_536,
        learning_rate=CosineRate(peak=6e-4, warmup_steps=2000),
    ),
}
"""By name. ``tiny`` takes three to four minutes on 2 cores; ``40m`` has the paper's size and its
200 000 steps (paper, B.2, which does not say how large a step is)."""


def train_byte_lm(
    corpus: Corpus,
    work: Path,
    chosen: LmRecipe,
    *,
    contexts: Contexts,
    held_out_fraction: float,
    device: DeviceName = "auto",
    say: Callable[[str], None] = lambda _: None,
    callbacks: Sequence[AnyCallback] = (),
) -> ByteLM:
    """Train a byte LM on a corpus's training part, or go on with a training in ``work``.

    Raises:
        DataError: the training part is empty or too small for one step.
        UsageError: ``work`` holds a training of something else.
    """
    store = work / STORE_FOLDER
    part = TrainingPart(corpus, held_out_fraction, contexts)
    summary = prepare_store(part, {}, store, held_out_fraction=0.0)
    say(f"training the byte LM '{chosen.model.name}' on {summary.num_bytes / 1e6:.1f} MB")
    result = train(chosen.training(store, device), work / RUN_FOLDER, callbacks)
    say(
        f"{result.steps} steps, {result.symbols:,} symbols in {result.seconds:.0f} s, "
        f"last loss {result.loss:.3f} nats per byte"
    )
    return ByteLM(load(work / RUN_FOLDER).module, device=device)
