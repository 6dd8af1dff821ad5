"""What the demo compares: models of one size on the same number of symbols.

The command tells its options by it, so what a training needs comes in when there is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from proxylm.config import Config
from proxylm.corpus.config import STANDARD_LIBRARY, CorpusConfig
from proxylm.demo.compressors import PAPER_PROXY, BpeDemo, DemoCompressor

if TYPE_CHECKING:
    from proxylm.data.mixture import Mixture
    from proxylm.training.config import TrainingConfig

DESCRIPTIONS = {
    "bytes": "raw bytes alone",
    "tokens": "tokens alone",
    PAPER_PROXY: "the paper's mixture: 40 to 90 % compressed, pairs in the first fifth",
    "proxy-pieces": "pieces of each document, 85 % of them compressed",
}

SYMBOLS_PER_MINUTE = 1_000_000 / 9
"""Symbols of each model per minute of training: four models fit in 9 minutes on 2 cores."""


class DemoSettings(Config):
    """How large the demo is.

    Attributes:
        minutes: training time aimed at on 2 cores, all models together.
        corpus: what it is trained on.
        compressor: what the proxies are trained on.
        seed: seed of everything that is drawn.
    """

    minutes: Annotated[float, Field(gt=0, le=10_000)] = 9.0
    corpus: CorpusConfig = CorpusConfig(path=STANDARD_LIBRARY)
    compressor: DemoCompressor = BpeDemo()
    seed: Annotated[int, Field(ge=0)] = 0

    symbols_per_step: ClassVar[int] = 4 * 1024
    """Symbols of one update: 4 contexts of 1024."""

    @property
    def symbols(self) -> int:
        """Symbols that each model is trained on, in whole steps."""
        steps = max(1, round(self.minutes * SYMBOLS_PER_MINUTE / self.symbols_per_step))
        return steps * self.symbols_per_step

    def training(self, mixture: Mixture, store: Path) -> TrainingConfig:
        """The run of one of the models."""
        from proxylm.data.sources import SourceConfig
        from proxylm.training.config import (
            CheckpointConfig,
            HeldOutConfig,
            PresetModel,
            SymbolCount,
            TrainingConfig,
        )
        from proxylm.training.schedule import CosineRate

        steps = self.symbols // self.symbols_per_step
        # The byte model is a byte model: no vocabulary that it never sees.
        view = self.compressor.kind if mixture.rate.rates(steps).any() else None
        return TrainingConfig(
            data=(SourceConfig(store=str(store), view=view),),
            mixing=mixture,
            model=PresetModel(name="demo"),
            length=SymbolCount(symbols=self.symbols),
            symbols_per_step=self.symbols_per_step,
            learning_rate=CosineRate(peak=2e-3, warmup_steps=min(50, steps // 4)),
            seed=self.seed,
            device="cpu",
            checkpoints=CheckpointConfig(every_steps=100, keep_last=1),
            held_out=HeldOutConfig(every_steps=max(1, steps // 8), max_bytes=40_000),
        )
