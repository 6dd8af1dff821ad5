"""The benchmark of ``prepare`` runs, reports its cases and measures the corpus it says."""

from __future__ import annotations

from pathlib import Path

import proxylm.corpus
from proxylm.bench.prepare import CopiedCorpus, run_prepare_benchmark
from proxylm.corpus.opening import CorpusConfig, open_corpus

SOURCES = str(Path(proxylm.corpus.__file__).parent)


def test_every_case_is_measured_beside_its_yardstick():
    rows = run_prepare_benchmark(SOURCES, copies=1, repeats=1)
    assert [row.case for row in rows] == ["prepare/bpe", "prepare/bpe/once", "prepare/unigram"]
    for row in rows:
        assert row.unit == "bytes/s"
        assert row.value > 0
        assert row.yardstick > 0
        assert "encode_batch_fast" in row.yardstick_is
    assert "ours: tiktoken" in rows[0].yardstick_is
    assert "ours: tokenizers" in rows[2].yardstick_is


def test_a_corpus_several_times_over():
    corpus = open_corpus(CorpusConfig(path=SOURCES, pattern="*.py", part_bytes=8192))
    copied = CopiedCorpus(corpus, 3)
    once, thrice = list(corpus.documents()), list(copied.documents())
    assert [document.raw for document in thrice] == 3 * [document.raw for document in once]
    assert len({document.id for document in thrice}) == len(thrice)
    assert [part.index for part in copied.parts()] == list(range(3 * len(corpus.parts())))
