"""The cases of ``proxylm bench neural``; what they are stands in ``neural.py``."""

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
from proxylm.bench.report import BenchmarkRow, alternate
from proxylm.compressors.neural.coder.automaton_engine import AutomatonEngine
from proxylm.compressors.neural.coder.contract import Engine
from proxylm.compressors.neural.coder.engines import engine_of
from proxylm.compressors.neural.coder.frequencies import ByteDistribution
from proxylm.compressors.neural.coder.lm_engines import NaiveEngine
from proxylm.compressors.neural.compressor import NeuralCompressor
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.registry import load_compressor, save_compressor
from proxylm.config import Config
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.opening import open_corpus
from proxylm.data.store.prepare import prepare_store

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
    return [_automaton_row(bench, segments), *others, _lm_share_row(bench, few)]


def _automaton_row(bench: NeuralBench, segments: _Segments) -> BenchmarkRow:
    ours = partial(bench.automaton.code, segments.raw, segments.lengths)
    return _beside_a_copy("neural/automaton", ours, segments.raw, bench.repeats)


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
    return BenchmarkRow(
        case="neural/naive/lm-share",
        value=timed.seconds,
        unit="s",
        yardstick=seconds,
        yardstick_is="all of the naive form's time; the ratio is the share spent in the LM",
    )


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
    return BenchmarkRow(
        case=case,
        value=often,
        unit="bytes",
        yardstick=once,
        yardstick_is=f"peak of preparing {memory.corpus_bytes} bytes in parts of "
        f"{memory.part_bytes}; ours: of {CORPUS_COPIES} times as much",
        lower_is_better=True,
    )


def peak_prepare_bytes(compressor: Path, text: Path, part_bytes: int, copies: int) -> int:
    """Peak memory of preparing a corpus so many times over, with one worker."""
    return peak_memory_of(_prepare, compressor, text, part_bytes, copies)


def _prepare(compressor: Path, text: Path, part_bytes: int, copies: int) -> None:
    documents = (document.raw for document in open_corpus(CorpusConfig(path=str(text))).documents())
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as copied:
        corpus = write_copies(documents, copies, Path(copied), part_bytes)
        compressors = {"neural": load_compressor(compressor)}
        prepare_store(corpus, compressors, Path(folder) / "store", workers=1)
