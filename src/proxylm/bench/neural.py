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
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from proxylm.bench.peak_memory import peak_memory_of
from proxylm.bench.plain_forward import fastest_plain_forward
from proxylm.bench.prepare import write_copies
from proxylm.bench.report import BenchmarkRow, alternate, rows_of
from proxylm.compressors.neural.coder.automaton_engine import AutomatonEngine
from proxylm.compressors.neural.coder.contract import Engine
from proxylm.compressors.neural.coder.engines import engine_of
from proxylm.compressors.neural.coder.frequencies import ByteDistribution
from proxylm.compressors.neural.coder.lm_engines import NaiveEngine
from proxylm.compressors.neural.compressor import NeuralCompressor
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.automaton import AutomatonSegmentation
from proxylm.compressors.neural.segmentation.entropy import EntropySegmentation
from proxylm.compressors.neural.settings import NeuralSettings
from proxylm.compressors.registry import load_compressor, save_compressor
from proxylm.config import Config
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.opening import open_corpus
from proxylm.corpus.split import sample
from proxylm.data.store.prepare import prepare_store
from proxylm.errors import DataError, UsageError
from proxylm.pipelines.neural_compressor import (
    NeuralTraining,
    Reports,
    new_lm,
    train_neural_compressor,
)

TRAINING_SYMBOLS = 160 * 4096
"""About a minute on 2 cores."""

OTHER_FORMS = ("naive", "batched", "lazy")
CORPUS_COPIES = 10

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class MemoryCase(Config):
    """A corpus and how it is cut.

    Attributes:
        corpus_bytes: about its size.
        part_bytes: about the size of a shard; several of them make the corpus.
    """

    corpus_bytes: PositiveInt
    part_bytes: PositiveInt

    def write_corpus(self, source: Corpus, folder: Path) -> Path:
        """Write documents of ``source``, none longer than a part, into a new folder."""
        folder.mkdir(parents=True)
        num_bytes = 0
        for number, document in enumerate(source.documents()):
            if num_bytes >= self.corpus_bytes:
                break
            if len(document.raw) <= self.part_bytes:
                (folder / f"{number:06}.py").write_bytes(document.raw)
                num_bytes += len(document.raw)
        return folder


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
    reports: Reports | None = None,
) -> list[BenchmarkRow]:
    """Measure all cases.

    Args:
        compressor: a neural compressor with an automaton; None trains one.
        corpus_path: the text, ``CorpusConfig.path``.
        sizes: how much of it.
        reports: who hears what is going on.

    Raises:
        UsageError: ``compressor`` is none that can be measured.
    """
    sizes, reports = sizes or NeuralBenchmarkSizes(), reports or Reports()
    corpus = open_corpus(CorpusConfig(path=corpus_path))
    with tempfile.TemporaryDirectory() as folder:
        entropy = _compressor(compressor, corpus, sizes, Path(folder) / "trained", reports)
        bench = NeuralBench(
            entropy=entropy,
            rule=_with_automaton_rule(entropy, corpus, sizes.fitting_bytes),
            repeats=sizes.repeats,
            folder=Path(folder),
        )
        text = partial(_sample, corpus)
        memory = partial(memory_row, bench, corpus=corpus)
        cases: list[Callable[[], list[BenchmarkRow]]] = [
            lambda: engine_rows(bench, text(sizes.cut_bytes), sizes.slow_bytes),
            lambda: [entropy_row(bench, text(sizes.entropy_bytes), sizes.tried_bytes)],
            lambda: [rule_row(bench, text(sizes.rule_bytes))],
            lambda: [memory("neural/memory", bench.entropy, memory=sizes.entropy_memory)],
            lambda: [memory("neural/memory/automaton-rule", bench.rule, memory=sizes.rule_memory)],
        ]
        return rows_of(cases, reports.progress)


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
    reports: Reports,
) -> NeuralCompressor:
    if given is None:
        training = NeuralTraining(lm=new_lm("tiny", "long", sizes.training_symbols))
        return train_neural_compressor(corpus, out, training=training, reports=reports)
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


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuralBench:
    """What the cases share.

    Attributes:
        entropy: the compressor.
        rule: the same byte LM and automaton with the automaton's boundary rule.
        repeats: timings per case.
        folder: an empty one, for files.
    """

    entropy: NeuralCompressor
    rule: NeuralCompressor
    repeats: int
    folder: Path

    @cached_property
    def automaton(self) -> AutomatonEngine:
        """The form that looks codes up."""
        assert self.entropy.automaton is not None
        return AutomatonEngine(self.entropy.automaton)

    def form(self, name: str) -> Engine:
        """Another form, new: one that remembers would only look up what it coded before."""
        return engine_of(name, self.entropy.lm, self.automaton.settings, None)


@dataclass(frozen=True, kw_only=True)
class _Segments:
    """Bytes uint8 ``[n]`` and lengths uint32 ``[s]`` of segments."""

    raw: NDArray[np.uint8]
    lengths: NDArray[np.uint32]

    @classmethod
    def cut(cls, compressor: NeuralCompressor, documents: Sequence[bytes]) -> _Segments:
        raw = FlatDocuments.of(documents).raw
        return cls(raw=raw, lengths=np.concatenate(compressor.cut(documents)))

    def first(self, wanted_bytes: int) -> _Segments:
        upto = int(np.searchsorted(np.cumsum(self.lengths), wanted_bytes)) + 1
        lengths = self.lengths[:upto]
        return _Segments(raw=self.raw[: int(lengths.sum())], lengths=lengths)


def engine_rows(
    bench: NeuralBench, documents: Sequence[bytes], slow_bytes: int
) -> list[BenchmarkRow]:
    """The coder's four forms, and the share of the LM in the naive one."""
    segments = _Segments.cut(bench.entropy, documents)
    few = segments.first(slow_bytes)
    others = [_other_form_row(bench, name, few) for name in OTHER_FORMS]
    ours = partial(bench.automaton.code, segments.raw, segments.lengths)
    automaton = _beside_a_copy("neural/automaton", ours, segments.raw, bench.repeats)
    return [automaton, *others, _lm_share_row(bench, few)]


def _beside_a_copy(
    case: str, ours: Callable[[], object], raw: NDArray[np.uint8], repeats: int
) -> BenchmarkRow:
    """Bytes a second of one core, beside a copy of the bytes."""
    copied = np.empty_like(raw)
    seconds = alternate(
        ours, lambda: np.copyto(copied, raw), repeats=3 * repeats, clock=time.process_time
    )
    yardstick_is = "copy of the same bytes in memory, one core"
    return BenchmarkRow.of_rates(case, len(raw), "bytes/s", seconds, yardstick_is)


def _other_form_row(bench: NeuralBench, name: str, segments: _Segments) -> BenchmarkRow:
    def ours() -> NDArray[np.uint32]:
        return bench.form(name).code(segments.raw, segments.lengths).symbols

    def yardstick() -> NDArray[np.uint32]:
        return bench.automaton.code(segments.raw, segments.lengths).symbols

    assert np.array_equal(ours(), yardstick()), f"{name} gives other symbols than the automaton"
    seconds, num_bytes = alternate(ours, yardstick, repeats=1), len(segments.raw)
    yardstick_is = f"the automaton on the same {num_bytes} bytes"
    return BenchmarkRow.of_rates(f"neural/{name}", num_bytes, "bytes/s", seconds, yardstick_is)


class TimedDistribution:
    """A distribution that counts the seconds that are spent in it."""

    def __init__(self, inner: ByteDistribution) -> None:
        self.fingerprint = inner.fingerprint
        self.seconds = 0.0
        self.probabilities = self._timed(inner.probabilities)
        self.next_probabilities = self._timed(inner.next_probabilities)
        self.canonical = self._timed(inner.canonical)

    def _timed(self, ask: Callable[[Asked], Answer]) -> Callable[[Asked], Answer]:
        def timed(what: Asked) -> Answer:
            start = time.perf_counter()
            answer = ask(what)
            self.seconds += time.perf_counter() - start
            return answer

        return timed


def _lm_share_row(bench: NeuralBench, segments: _Segments) -> BenchmarkRow:
    timed = TimedDistribution(bench.entropy.lm)
    engine = NaiveEngine(timed, bench.automaton.settings)
    start = time.perf_counter()
    engine.code(segments.raw, segments.lengths)
    seconds = time.perf_counter() - start
    whole = "all of the naive form's time; the ratio is the share spent in the LM"
    return BenchmarkRow("neural/naive/lm-share", timed.seconds, "s", seconds, whole)


def entropy_row(bench: NeuralBench, documents: Sequence[bytes], tried_bytes: int) -> BenchmarkRow:
    """Documents in, views out, with the entropy rule.

    Args:
        bench: what is measured.
        documents: the text.
        tried_bytes: how much of it tells which batching of the plain pass is fastest.
    """
    num_bytes = sum(map(len, documents))
    plain = fastest_plain_forward(bench.entropy.lm, documents, tried_bytes=tried_bytes)
    ours = partial(bench.entropy.encode, documents)
    seconds = alternate(ours, plain.run, repeats=bench.repeats)
    yardstick_is = f"one forward pass of the model over the same bytes, as {plain.batching}"
    return BenchmarkRow.of_rates("neural/entropy", num_bytes, "bytes/s", seconds, yardstick_is)


def rule_row(bench: NeuralBench, documents: Sequence[bytes]) -> BenchmarkRow:
    """Documents in, views out, with the automaton's own rule."""
    raw, ours = FlatDocuments.of(documents).raw, partial(bench.rule.encode, documents)
    return _beside_a_copy("neural/automaton-rule", ours, raw, bench.repeats)


def memory_row(
    bench: NeuralBench, case: str, compressor: NeuralCompressor, corpus: Corpus, memory: MemoryCase
) -> BenchmarkRow:
    """Peak memory of ``prepare`` for several times a corpus, beside that for the corpus."""
    work = bench.folder / case.replace("/", "-")
    saved = work / "compressor"
    save_compressor(compressor, saved)
    text = memory.write_corpus(corpus, work / "text")
    once, often = (
        peak_prepare_bytes(saved, text, memory.part_bytes, copies) for copies in (1, CORPUS_COPIES)
    )
    yardstick_is = (
        f"peak of preparing {memory.corpus_bytes} bytes in parts of "
        f"{memory.part_bytes}; ours: of {CORPUS_COPIES} times as much"
    )
    return BenchmarkRow(case, often, "bytes", once, yardstick_is, lower_is_better=True)


def peak_prepare_bytes(compressor: Path, text: Path, part_bytes: int, copies: int) -> int:
    """Peak memory of preparing a corpus so many times over, with one worker."""
    return peak_memory_of(_prepare, compressor, text, part_bytes, copies)


def _prepare(compressor: Path, text: Path, part_bytes: int, copies: int) -> None:
    documents = (document.raw for document in open_corpus(CorpusConfig(path=str(text))).documents())
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as copied:
        corpus = write_copies(documents, copies, Path(copied), part_bytes)
        compressors = {"neural": load_compressor(compressor)}
        prepare_store(corpus, compressors, Path(folder) / "store", workers=1)
