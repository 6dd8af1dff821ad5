"""The benchmark of several bytes per pass, on a model that has learned next to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxylm.bench import multi_byte
from proxylm.bench.multi_byte import run_multi_byte_benchmark
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.opening import open_corpus
from proxylm.data.store.prepare import prepare_store
from proxylm.data.store.store import ViewStore
from trained_models import trained_model


def small_store(folder: Path, *, held_out_fraction: float) -> ViewStore:
    sources = folder / "sources"
    sources.mkdir()
    for index in range(12):
        lines = [f"value_{index}_{line} = {line * index}\n" for line in range(60)]
        (sources / f"{index}.py").write_text("".join(lines))
    corpus = open_corpus(CorpusConfig(path=str(sources)))
    prepare_store(corpus, {}, folder / "store", held_out_fraction=held_out_fraction)
    return ViewStore.open(folder / "store")


def test_rows_of_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, store = trained_model("eva", "raw"), small_store(tmp_path, held_out_fraction=0.5)
    monkeypatch.setattr(multi_byte, "train_on_standard_library", lambda *_: (model, store))
    lengths = {"steps": 1, "prompts": 3, "prompt_bytes": 40, "new_bytes": 12}
    rows = {row.case: row for row in run_multi_byte_benchmark(**lengths)}
    for kind in ("chain", "tree", "lookup"):
        for suffix in ("", "/sampled"):
            case = f"generate/{kind}{suffix}"
            assert rows[case].unit == "bytes/s"
            per_pass = rows[f"{case}/bytes-per-pass"]
            assert 1 <= per_pass.value <= 9
            assert per_pass.yardstick == 1
            gained = rows[f"{case}/times-one-byte"]
            assert gained.value == pytest.approx(rows[case].ratio)
            assert gained.yardstick > 0
        assert rows[f"generate/{kind}/same-bytes"].value == 1
        assert rows[f"generate/{kind}/on-text"].value >= 1
    assert 0 < rows["generate/distinct-8-grams"].value <= 1
    assert rows["generate/one-byte"].value > 0
