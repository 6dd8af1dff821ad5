"""``proxylm bench prepare``: a corpus into a view store, beside the tokenizer library alone.

Ours is the whole of ``prepare``: worker start-up, reading and hashing the source files, symbols,
anchors, Arrow files, checksums, manifest. The yardstick is only the library's fastest call,
``encode_batch_fast`` with all its threads, on texts that lie in memory already.

The corpus is the standard library, written into a folder: several times over for ``prepare/bpe``
and ``prepare/unigram``, so that they show the steady rate; once (about 12 MB) for
``prepare/bpe/once``, where starting the workers is a good part of the time.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from proxylm.bench.report import BenchmarkRow, alternate
from proxylm.compressors.contract import Compressor
from proxylm.compressors.tokenizer.compressor import TokenizerCompressor
from proxylm.compressors.tokenizer.training import BpeTraining, UnigramTraining, texts_of
from proxylm.corpus.config import CorpusConfig, FilesAre
from proxylm.corpus.contract import Corpus
from proxylm.corpus.left_out import LeftOut
from proxylm.corpus.opening import open_corpus
from proxylm.corpus.split import split_documents
from proxylm.data.store.prepare import prepare_store
from proxylm.progress import TellCount, told, untold

VOCABULARY_SIZE = 4096
COPIES = 6
PART_BYTES = 4 << 20
REPEATS = 2


def run_prepare_benchmark(
    corpus_path: str = "stdlib",
    *,
    copies: int = COPIES,
    repeats: int = REPEATS,
    progress: TellCount = untold,
) -> list[BenchmarkRow]:
    """Measure ``prepare`` with one worker per core; takes two or three minutes.

    Args:
        corpus_path: what is prepared, ``CorpusConfig.path``.
        copies: how many times over the steady cases read it; the slow Unigram one, a third.
        repeats: timings per case, of which the median counts.
        progress: hears how many cases are measured.
    """
    corpus = open_corpus(CorpusConfig(path=corpus_path))
    documents = [document.raw for document in corpus.documents()]
    training = list(split_documents(corpus, held_out=False, left_out=LeftOut()))
    bpe = BpeTraining(vocabulary_size=VOCABULARY_SIZE).train(texts_of(training))
    unigram = UnigramTraining(vocabulary_size=VOCABULARY_SIZE).train(texts_of(training))
    cases: list[tuple[str, bytes, int]] = [
        ("prepare/bpe", bpe, copies),
        ("prepare/bpe/once", bpe, 1),
        ("prepare/unigram", unigram, max(1, copies // 3)),
    ]
    return [
        _measure(case, file, documents, count, repeats)
        for case, file, count in told(cases, "cases", progress)
    ]


def _measure(
    case: str, file: bytes, documents: Sequence[bytes], copies: int, repeats: int
) -> BenchmarkRow:
    compressor = TokenizerCompressor(file)
    library = Tokenizer.from_str(file.decode())
    texts = [document.decode(errors="replace") for document in documents]
    num_bytes = copies * sum(map(len, documents))
    with tempfile.TemporaryDirectory() as folder:
        corpus = write_copies(documents, copies, Path(folder))
        seconds = alternate(
            lambda: _prepare_once(corpus, compressor),
            lambda: _encode_with_library(library, texts, copies),
            repeats=repeats,
        )
    name, threads = compressor.describe()["library"], os.cpu_count()
    yardstick_is = f"encode_batch_fast of the same texts, {threads} threads (ours: {name})"
    return BenchmarkRow.of_rates(case, num_bytes, "bytes/s", seconds, yardstick_is)


def write_copies(
    documents: Iterable[bytes], copies: int, folder: Path, part_bytes: int = PART_BYTES
) -> Corpus:
    """A folder with the documents several times over, a file each, opened as a corpus."""
    for number, document in enumerate(documents):
        for copy in range(copies):
            (folder / f"{copy}-{number:06}.txt").write_bytes(document)
    return open_corpus(
        CorpusConfig(path=str(folder), files=FilesAre.DOCUMENTS, part_bytes=part_bytes)
    )


def _prepare_once(corpus: Corpus, compressor: Compressor) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return prepare_store(corpus, {"tokens": compressor}, Path(folder) / "store")


def _encode_with_library(library: Tokenizer, texts: list[str], copies: int) -> None:
    for _ in range(copies):
        library.encode_batch_fast(texts, add_special_tokens=False)
