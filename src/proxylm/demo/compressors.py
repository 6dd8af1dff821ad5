"""The compressors that the demo can train, and what each of them makes of the comparison.

The command's options come from here, so what trains them is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from proxylm.config import Config
from proxylm.data.mixture import Mixture

if TYPE_CHECKING:
    from proxylm.corpus.contract import Corpus
    from proxylm.pipelines.neural_compressor import Reports

PAPER_PROXY = "proxy"

BYTES_AND_PROXIES: dict[str, Mixture] = {
    "bytes": Mixture.bytes_only(),
    PAPER_PROXY: Mixture.paper(),
    "proxy-pieces": Mixture.pieces(),
}
"""Raw bytes, the paper's schedule, and mixing inside documents."""


class BpeDemo(Config):
    """A BPE tokenizer; a model on tokens alone joins the comparison.

    Attributes:
        vocabulary_size: number of tokens.
    """

    kind: Literal["bpe"] = "bpe"
    vocabulary_size: Annotated[int, Field(ge=300)] = 4096

    unit: ClassVar[str] = "token"
    mixtures: ClassVar[Mapping[str, Mixture]] = {
        "bytes": BYTES_AND_PROXIES["bytes"],
        "tokens": Mixture.compressed_only(),
        **BYTES_AND_PROXIES,
    }

    def train(self, corpus: Corpus, folder: Path, minutes: float, reports: Reports) -> None:
        """Train on the corpus's training part and save as ``folder``."""
        from proxylm.compressors.registry import save_compressor
        from proxylm.compressors.tokenizer.training import BpeTraining, train_on_corpus
        from proxylm.corpus.split import HELD_OUT_FRACTION

        reports.say(f"training a BPE tokenizer with {self.vocabulary_size} tokens on {corpus.name}")
        # Preparing the views tells what is left out.
        trained = train_on_corpus(
            BpeTraining(vocabulary_size=self.vocabulary_size),
            corpus,
            held_out_fraction=HELD_OUT_FRACTION,
            sample_bytes=None,
            left_out=reports.left_out,
            say=reports.say,
        )
        save_compressor(trained, folder)


class NeuralDemo(Config):
    """A small neural compressor.

    Its symbols have 8 bits: at this size a vocabulary of 65 536 would cost ten times the body. Its
    segments come from the automaton's own rule, so that views are made in seconds. Its symbols
    have no way back to bytes, so no model on them alone is scored.
    """

    kind: Literal["neural"] = "neural"

    unit: ClassVar[str] = "symbol"
    mixtures: ClassVar[Mapping[str, Mixture]] = BYTES_AND_PROXIES

    MINUTES_OF_THE_WHOLE_LM: ClassVar[float] = 9.0
    """A shorter demo trains its byte LM for less, in proportion."""

    def train(self, corpus: Corpus, folder: Path, minutes: float, reports: Reports) -> None:
        """Train on the corpus's training part and save as ``folder``."""
        from proxylm.compressors.neural.coder.settings import CoderSettings
        from proxylm.compressors.neural.segmentation.automaton import AutomatonSegmentation
        from proxylm.compressors.neural.settings import NeuralSettings
        from proxylm.pipelines.byte_lm_training import RECIPES
        from proxylm.pipelines.neural_compressor import (
            NeuralTraining,
            new_lm,
            train_neural_compressor,
        )

        whole = RECIPES["tiny"]
        share = min(1.0, minutes / self.MINUTES_OF_THE_WHOLE_LM)
        symbols = max(whole.symbols_per_step, round(share * whole.symbols))
        training = NeuralTraining(
            lm=new_lm("tiny", "short", symbols),
            settings=NeuralSettings(
                segmentation=AutomatonSegmentation(), coder=CoderSettings(pack_bits=8)
            ),
            device="cpu",
        )
        train_neural_compressor(corpus, folder, training=training, reports=reports)


DemoCompressor = Annotated[BpeDemo | NeuralDemo, Field(discriminator="kind")]
