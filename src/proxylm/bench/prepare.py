"""``proxylm bench prepare``: a corpus into a view store, beside the tokenizer library alone.

Ours is the whole of ``prepare``: worker start-up, reading and hashing the source files, symbols,
anchors, Arrow files, checksums, manifest. The yardstick is only the library's fastest call,
``encode_batch_fast`` with all its threads, on texts that lie in memory already.

The corpus is the standard library. ``prepare/bpe`` and ``prepare/unigram`` read it several times
over under other document ids, so that they show the steady rate; ``prepare/bpe/once`` reads it
once (about 12 MB), where starting the workers is a good part of the time.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from proxylm.bench.report import BenchmarkRow, alternate
from proxylm.compressors.contract import Compressor
from proxylm.compressors.tokenizer.compressor import TokenizerCompressor
from proxylm.compressors.tokenizer.training import BpeTraining, UnigramTraining, texts_of
from proxylm.corpus.contract import Corpus, CorpusPart
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.left_out import LeftOut
from proxylm.corpus.opening import CorpusConfig, open_corpus
from proxylm.corpus.split import split_documents
from proxylm.data.store.prepare import prepare_store
from proxylm.fingerprint import fingerprint_of

VOCABULARY_SIZE = 4096
COPIES = 6
REPEATS = 2


@dataclass(frozen=True, kw_only=True)
class CopiedPart(CorpusPart):
    """One part of the corpus below, in one of the copies."""

    copy: int
    original: CorpusPart


class CopiedCorpus(Corpus):
    """A corpus several times over; ids say which copy, everything else is read as usual."""

    def __init__(self, corpus: Corpus, copies: int):
        self.name = f"{corpus.name} x {copies}"
        self._corpus = corpus
        self._copies = copies

    @property
    def fingerprint(self) -> str:
        """Of the corpus and the number of copies."""
        return fingerprint_of(self._corpus.fingerprint, self._copies)

    def parts(self) -> Sequence[CorpusPart]:
        """The corpus's parts, copy by copy."""
        originals = list(self._corpus.parts()) * self._copies
        return [
            CopiedPart(
                index=index,
                num_bytes=part.num_bytes,
                copy=index // (len(originals) // self._copies),
                original=part,
            )
            for index, part in enumerate(originals)
        ]

    def read(self, part: CorpusPart) -> Iterator[Document | Rejection]:
        """One part, with the copy in the ids."""
        assert isinstance(part, CopiedPart)
        for item in self._corpus.read(part.original):
            yield replace(item, id=f"{part.copy}/{item.id}")


def run_prepare_benchmark(
    corpus_path: str = "stdlib", *, copies: int = COPIES, repeats: int = REPEATS
) -> list[BenchmarkRow]:
    """Measure ``prepare`` with one worker per core; takes two or three minutes.

    Args:
        corpus_path: what is prepared, ``CorpusConfig.path``.
        copies: how many times over the steady cases read it; the slow Unigram one, a third.
        repeats: timings per case, of which the median counts.
    """
    corpus = open_corpus(CorpusConfig(path=corpus_path))
    training = list(split_documents(corpus, held_out=False, left_out=LeftOut()))
    texts = [document.raw.decode(errors="replace") for document in corpus.documents()]
    bpe = BpeTraining(vocabulary_size=VOCABULARY_SIZE).train(texts_of(training))
    unigram = UnigramTraining(vocabulary_size=VOCABULARY_SIZE).train(texts_of(training))
    cases: list[tuple[str, bytes, int]] = [
        ("prepare/bpe", bpe, copies),
        ("prepare/bpe/once", bpe, 1),
        ("prepare/unigram", unigram, max(1, copies // 3)),
    ]
    return [
        _measure(case, file, CopiedCorpus(corpus, count), texts, count, repeats)
        for case, file, count in cases
    ]


def _measure(
    case: str, file: bytes, corpus: Corpus, texts: list[str], copies: int, repeats: int
) -> BenchmarkRow:
    compressor = TokenizerCompressor(file)
    library = Tokenizer.from_str(file.decode())
    num_bytes = sum(len(document.raw) for document in corpus.documents())
    ours, yardstick = alternate(
        lambda: _prepare_once(corpus, compressor),
        lambda: _encode_with_library(library, texts, copies),
        repeats=repeats,
    )
    name, threads = compressor.describe()["library"], os.cpu_count()
    return BenchmarkRow(
        case=case,
        value=num_bytes / ours,
        unit="bytes/s",
        yardstick=num_bytes / yardstick,
        yardstick_is=f"encode_batch_fast of the same texts, {threads} threads (ours: {name})",
    )


def _prepare_once(corpus: Corpus, compressor: Compressor) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return prepare_store(corpus, {"tokens": compressor}, Path(folder) / "store")


def _encode_with_library(library: Tokenizer, texts: list[str], copies: int) -> None:
    for _ in range(copies):
        library.encode_batch_fast(texts, add_special_tokens=False)
