"""A neural compressor of a few thousand parameters, trained in seconds, for every test."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.neural.byte_lm.model import ByteLM
from proxylm.compressors.neural.byte_lm.training_contexts import LongContexts
from proxylm.compressors.neural.coder.automaton import Automaton
from proxylm.compressors.neural.coder.automaton_build import build_automaton
from proxylm.compressors.neural.coder.contract import Engine
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.compressor import NeuralCompressor
from proxylm.compressors.neural.segmentation.entropy import EntropySegmentation
from proxylm.compressors.neural.settings import NeuralSettings, Segmentation
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.opening import open_corpus
from proxylm.pipelines.byte_lm_training import LmRecipe, train_byte_lm
from proxylm.training.config import PresetModel
from proxylm.training.schedule import CosineRate

CONTEXT = 64
SIZES = {
    "layers": 1,
    "width": 16,
    "ffn": 16,
    "heads": 2,
    "attention": {"kind": "causal", "kv_heads": 2},
    "context": CONTEXT,
}
RECIPE = LmRecipe(
    model=PresetModel(name="byte-lm-tiny", overrides=SIZES),
    symbols=40 * 1024,
    symbols_per_step=1024,
    learning_rate=CosineRate(peak=2e-2, warmup_steps=10),
)
WORDS = ("def ", "self.", "value", " = ", "(x)", ":\n    ", "\n", "for i in ")


def text(seed: int, *, words: int = 200) -> bytes:
    """Something like source code, the same for a seed; half of it cannot be foreseen.

    (The more a byte LM foresees, the more strings fit in a window.)
    """
    numbers = random.Random(seed)
    names = ("".join(numbers.choices("abcdefghijklmnopqrstuvwxyz_0123", k=6)) for _ in range(words))
    return "".join(numbers.choice(WORDS) + name for name in names).encode()


def write_corpus(folder: Path, *, files: int = 40, words: int = 200) -> Path:
    """Files of such text."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        (folder / f"{number:03}.txt").write_bytes(text(number, words=words))
    return folder


def coded(engine: Engine, segments: Sequence[bytes]) -> list[NDArray[np.uint32]]:
    """The symbols of each segment."""
    raw = np.frombuffer(b"".join(segments), np.uint8)
    found = engine.code(raw, np.array([len(one) for one in segments], np.uint32))
    ends = np.cumsum(found.symbols_per_segment, dtype=np.int64)
    return np.split(found.symbols, ends[:-1]) if len(ends) else []


@cache
def small_byte_lm() -> ByteLM:
    """Trained by the project's own trainer, once per test process."""
    with TemporaryDirectory() as place:
        corpus = open_corpus(CorpusConfig(path=str(write_corpus(Path(place) / "corpus"))))
        work = Path(place) / "work"
        options = {"contexts": LongContexts(), "held_out_fraction": 0.1, "device": "cpu"}
        return train_byte_lm(corpus, work, RECIPE, **options)


@cache
def small_automaton(settings: CoderSettings) -> Automaton:
    """The automaton of the small byte LM."""
    return build_automaton(small_byte_lm(), settings)


@cache
def small_compressor(
    segmentation: Segmentation | None = None, coder: CoderSettings | None = None
) -> NeuralCompressor:
    """A compressor whose thresholds are fitted on a little text."""
    lm, coder = small_byte_lm(), coder or CoderSettings()
    automaton = small_automaton(coder) if coder.window_bits == 16 else None
    rule = segmentation or EntropySegmentation(overlap=8)
    settings = NeuralSettings(segmentation=rule, coder=coder)
    fitted = settings.fitted([text(seed) for seed in range(100, 110)], lm, automaton)
    return NeuralCompressor(lm, fitted, automaton=automaton)
