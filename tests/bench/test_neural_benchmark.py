"""The benchmark of the neural compressor: every case, fair yardsticks, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import small_neural
from proxylm.bench import neural
from proxylm.bench.neural import (
    MemoryCase,
    NeuralBenchmarkSizes,
    TimedDistribution,
    peak_prepare_bytes,
    run_neural_benchmark,
)
from proxylm.bench.plain_forward import end_to_end, fastest_plain_forward, in_full_rows
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.registry import save_compressor
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.opening import open_corpus
from proxylm.errors import UsageError

MEMORY = MemoryCase(corpus_bytes=3000, part_bytes=1500)
SIZES = NeuralBenchmarkSizes(
    cut_bytes=20_000,
    slow_bytes=300,
    entropy_bytes=20_000,
    tried_bytes=1000,
    rule_bytes=20_000,
    entropy_memory=MEMORY,
    rule_memory=MEMORY,
    fitting_bytes=10_000,
    repeats=1,
)
CASES = {
    "neural/automaton": ("bytes/s", "copy of the same bytes"),
    "neural/naive": ("bytes/s", "the automaton on the same"),
    "neural/batched": ("bytes/s", "the automaton on the same"),
    "neural/lazy": ("bytes/s", "the automaton on the same"),
    "neural/naive/lm-share": ("s", "share spent in the LM"),
    "neural/entropy": ("bytes/s", "one forward pass of the model over the same bytes"),
    "neural/automaton-rule": ("bytes/s", "copy of the same bytes"),
    "neural/memory": ("bytes", "peak of preparing"),
    "neural/memory/automaton-rule": ("bytes", "peak of preparing"),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_neural.write_corpus(tmp_path_factory.mktemp("sources"), words=100)


@pytest.fixture
def compressor(tmp_path: Path) -> Path:
    save_compressor(small_neural.small_compressor(), tmp_path / "compressor")
    return tmp_path / "compressor"


def test_every_case_is_measured_beside_its_yardstick(compressor, sources, monkeypatch):
    watched = []

    def peak(*arguments):
        watched.append(arguments)
        return 1000 + 100 * (arguments[-1] > 1)

    monkeypatch.setattr(neural, "peak_prepare_bytes", peak)
    rows = run_neural_benchmark(compressor, corpus_path=str(sources), sizes=SIZES)
    assert [row.case for row in rows] == list(CASES)
    for row in rows:
        unit, yardstick_is = CASES[row.case]
        assert row.unit == unit
        assert yardstick_is in row.yardstick_is
        assert row.value > 0 and row.yardstick > 0
    by_case = {row.case: row for row in rows}
    assert 0 < by_case["neural/naive/lm-share"].ratio < 1
    assert by_case["neural/memory"].ratio == pytest.approx(1000 / 1100)
    assert [arguments[-1] for arguments in watched] == [1, 10, 1, 10]


def test_memory_is_that_of_a_process_that_prepares(compressor, sources, tmp_path):
    text = MEMORY.write_corpus(open_corpus(CorpusConfig(path=str(sources))), tmp_path / "text")
    sizes = [path.stat().st_size for path in text.iterdir()]
    assert sum(sizes) >= MEMORY.corpus_bytes / 2 and max(sizes) <= MEMORY.part_bytes
    assert 1e8 < peak_prepare_bytes(compressor, text, MEMORY.part_bytes, 2) < 4e9


def test_compressors_that_cannot_be_measured_are_refused(sources, tmp_path):
    with pytest.raises(UsageError, match="windows are enumerated"):
        run_neural_benchmark(Path("gzip"), corpus_path=str(sources), sizes=SIZES)
    without = small_neural.small_compressor(coder=CoderSettings(window_bits=32))
    save_compressor(without, tmp_path / "without")
    with pytest.raises(UsageError, match="windows are enumerated"):
        run_neural_benchmark(tmp_path / "without", corpus_path=str(sources), sizes=SIZES)


def test_every_batching_of_the_plain_pass_computes_every_byte():
    lm = small_neural.small_byte_lm()
    documents = [small_neural.text(seed)[: lm.context] for seed in range(5)] + [b"ab"]
    exact = np.concatenate(lm.exact_bits(documents))
    for contexts in (1, 4):
        scores = end_to_end(lm, documents, contexts=contexts).run()
        np.testing.assert_allclose(scores, exact, atol=1e-3)
        rows = torch.cat(in_full_rows(lm, documents, contexts=contexts).run())
        assert len(rows) == len(exact)
        # Its rows start where the documents do, but for the last, which ends the row before.
        np.testing.assert_allclose(rows[: 5 * lm.context].numpy(), exact[:-2], atol=1e-3)
    assert fastest_plain_forward(lm, documents, tried_bytes=100).batching


def test_a_timed_distribution_changes_nothing():
    lm = small_neural.small_byte_lm()
    timed = TimedDistribution(lm)
    assert timed.fingerprint == lm.fingerprint
    np.testing.assert_array_equal(timed.canonical(b"x"), lm.canonical(b"x"))
    np.testing.assert_array_equal(timed.probabilities([b"x"])[0], lm.probabilities([b"x"])[0])
    np.testing.assert_array_equal(timed.next_probabilities([b"x"]), lm.next_probabilities([b"x"]))
    assert timed.seconds > 0
