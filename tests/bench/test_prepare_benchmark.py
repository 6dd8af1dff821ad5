"""The benchmark of ``prepare`` runs, reports its cases and measures the corpus it says."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from proxylm.bench.prepare import run_prepare_benchmark, write_copies

WORDS = [f"{first}{second}" for first in "bcdfglmnprst" for second in ("a", "in", "er", "out")]


@pytest.fixture
def documents() -> list[bytes]:
    chosen = random.Random(7)
    return [" ".join(chosen.choices(WORDS, k=200)).encode() for _ in range(40)]


def test_every_case_is_measured_beside_its_yardstick(documents: list[bytes], tmp_path: Path):
    write_copies(documents, 1, tmp_path)
    rows = run_prepare_benchmark(str(tmp_path), copies=1, repeats=1)
    assert [row.case for row in rows] == ["prepare/bpe", "prepare/bpe/once", "prepare/unigram"]
    for row in rows:
        assert row.unit == "bytes/s"
        assert row.value > 0
        assert row.yardstick > 0
        assert "encode_batch_fast" in row.yardstick_is
    assert "ours: tiktoken" in rows[0].yardstick_is
    assert "ours: tokenizers" in rows[2].yardstick_is


def test_a_corpus_several_times_over(documents: list[bytes], tmp_path: Path):
    thrice = list(write_copies(documents, 3, tmp_path).documents())
    assert [document.raw for document in thrice] == 3 * documents
    assert len({document.id for document in thrice}) == len(thrice)
