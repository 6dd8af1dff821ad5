"""``proxylm bench neural``: the neural compressor's forms, and what a whole corpus costs.

Everything is measured with one compressor on documents of the standard library: windows of 16
bits, the entropy rule with its thresholds. It comes from ``--compressor``; otherwise the tiny byte
LM is trained here, for ``TRAINING_SYMBOLS`` symbols (the preset itself trains four times as long).

- ``neural/automaton``: segments into symbols, per core; the cuts are given.
- ``neural/naive``, ``neural/batched``, ``neural/lazy``: the other forms on a part of the same
  segments, each beside the automaton on that part. All must give equal symbols.
- ``neural/naive/lm-share``: how much of the naive form's time the LM takes.
- ``neural/entropy``: documents in, views out, beside one teacher-forced forward pass of the same
  model over the same bytes in the best of several batchings (``plain_forward``): the floor.
- ``neural/automaton-rule``: documents in, views out, with the boundary rule that needs no LM pass;
  per core.
- ``neural/memory``, ``neural/memory/automaton-rule``: peak memory of ``prepare`` for ten times a
  corpus, beside that for the corpus, each in a process of its own.

Rates per core count the processor time of all threads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from proxylm.bench.neural_cases import (
    MemoryCase,
    NeuralBench,
    engine_rows,
    entropy_row,
    memory_row,
    rule_row,
)
from proxylm.bench.report import BenchmarkRow
from proxylm.compressors.neural.compressor import NeuralCompressor
from proxylm.compressors.neural.segmentation.automaton import AutomatonSegmentation
from proxylm.compressors.neural.segmentation.entropy import EntropySegmentation
from proxylm.compressors.neural.settings import NeuralSettings
from proxylm.compressors.registry import load_compressor
from proxylm.config import Config
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.opening import open_corpus
from proxylm.corpus.split import sample
from proxylm.errors import DataError, UsageError
from proxylm.pipelines.neural_compressor import (
    NeuralTraining,
    Reports,
    new_lm,
    train_neural_compressor,
)

TRAINING_SYMBOLS = 160 * 4096
"""About a minute on 2 cores."""


class NeuralBenchmarkSizes(Config):
    """How much is measured; by default ten minutes on 2 cores, training included.

    Attributes:
        cut_bytes: about how much text the automaton codes, after the entropy rule has cut it.
        slow_bytes: about how much of it the other forms code.
        entropy_bytes: about how much text goes end to end with the entropy rule.
        tried_bytes: how much of that tells which batching of the plain pass is fastest.
        rule_bytes: about how much text goes end to end with the automaton's rule.
        entropy_memory, rule_memory: the corpora whose preparation is watched.
        fitting_bytes: about how much text the automaton's rule is fitted on.
        training_symbols: of the byte LM, where it is trained here.
        repeats: timings per case, of which the median counts (the slow forms have one).
    """

    cut_bytes: int = 1 << 20
    slow_bytes: int = 1 << 13
    entropy_bytes: int = 1 << 18
    tried_bytes: int = 1 << 15
    rule_bytes: int = 1 << 23
    entropy_memory: MemoryCase = MemoryCase(corpus_bytes=1 << 18, part_bytes=1 << 16)
    rule_memory: MemoryCase = MemoryCase(corpus_bytes=1 << 23, part_bytes=1 << 21)
    fitting_bytes: int = 1 << 20
    training_symbols: int = TRAINING_SYMBOLS
    repeats: int = 3


def run_neural_benchmark(
    compressor: Path | None = None,
    *,
    corpus_path: str = "stdlib",
    sizes: NeuralBenchmarkSizes | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[BenchmarkRow]:
    """Measure all cases.

    Args:
        compressor: a neural compressor with an automaton; None trains one.
        corpus_path: the text, ``CorpusConfig.path``.
        sizes: how much of it.
        say: hears what is going on.

    Raises:
        UsageError: ``compressor`` is none that can be measured.
    """
    sizes = sizes or NeuralBenchmarkSizes()
    corpus = open_corpus(CorpusConfig(path=corpus_path))
    with tempfile.TemporaryDirectory() as folder:
        entropy = _compressor(compressor, corpus, sizes, Path(folder) / "trained", say)
        bench = NeuralBench(
            entropy=entropy,
            rule=_with_automaton_rule(entropy, corpus, sizes.fitting_bytes),
            repeats=sizes.repeats,
            folder=Path(folder),
        )
        text = partial(_sample, corpus)
        say("the forms of the coder")
        rows = engine_rows(bench, text(sizes.cut_bytes), sizes.slow_bytes)
        say("end to end")
        rows.append(entropy_row(bench, text(sizes.entropy_bytes), sizes.tried_bytes))
        rows.append(rule_row(bench, text(sizes.rule_bytes)))
        say("memory")
        for case, measured, memory in (
            ("neural/memory", bench.entropy, sizes.entropy_memory),
            ("neural/memory/automaton-rule", bench.rule, sizes.rule_memory),
        ):
            rows.append(memory_row(bench, case, measured, corpus, memory))
    return rows


def _sample(corpus: Corpus, wanted_bytes: int) -> list[bytes]:
    total = sum(part.num_bytes for part in corpus.parts())
    chosen = sample(corpus.documents(), total_bytes=total, wanted_bytes=wanted_bytes)
    found = [document.raw for document in chosen]
    if not found:
        raise DataError(f"{corpus.name}: too few documents to measure; give a larger corpus")
    return found


def _compressor(
    given: Path | None,
    corpus: Corpus,
    sizes: NeuralBenchmarkSizes,
    out: Path,
    say: Callable[[str], None],
) -> NeuralCompressor:
    if given is None:
        training = NeuralTraining(lm=new_lm("tiny", "long", sizes.training_symbols))
        return train_neural_compressor(corpus, out, training=training, reports=Reports(say=say))
    loaded = load_compressor(given)
    if not isinstance(loaded, NeuralCompressor) or loaded.automaton is None:
        raise UsageError(f"{given}: give a neural compressor whose windows are enumerated")
    if not isinstance(loaded.segmentation, EntropySegmentation):
        raise UsageError(f"{given}: give a neural compressor with the entropy segmentation")
    return loaded


def _with_automaton_rule(
    entropy: NeuralCompressor, corpus: Corpus, fitting_bytes: int
) -> NeuralCompressor:
    settings = NeuralSettings(segmentation=AutomatonSegmentation(), coder=entropy.coder)
    fitted = settings.fitted(_sample(corpus, fitting_bytes), entropy.lm, entropy.automaton)
    return NeuralCompressor(entropy.lm, fitted, automaton=entropy.automaton)
