"""The benchmark of several bytes per pass, on a model that has learned next to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxylm.bench import multi_byte
from proxylm.bench.multi_byte import (
    accepted_on_texts,
    continue_in_turn,
    distinct_grams,
    held_out_texts,
    run_multi_byte_benchmark,
)
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.opening import open_corpus
from proxylm.data.store.prepare import prepare_store
from proxylm.data.store.store import ViewStore
from proxylm.generation.drafts import Chain, Tree
from proxylm.generation.options import GenerationOptions
from trained_models import source_text, trained_model


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
    rows = {row.case: row for row in run_multi_byte_benchmark(steps=1, prompts=3, new_bytes=12)}
    for kind in ("chain", "tree"):
        for suffix in ("", "/sampled"):
            case = f"generate/{kind}{suffix}"
            assert rows[case].unit == "bytes/s"
            per_pass = rows[f"{case}/bytes-per-pass"]
            assert 1 <= per_pass.value <= 8
            assert per_pass.yardstick <= 1
        assert rows[f"generate/{kind}/accepted-on-text"].value >= 0
    assert 0 < rows["generate/distinct-8-grams"].value <= 1
    assert rows["generate/one-byte"].value > 0


def test_held_out_texts_begin_lines_of_documents_that_were_not_trained_on(tmp_path: Path) -> None:
    store = small_store(tmp_path, held_out_fraction=0.4)
    held_out = [store.raw(int(i)).tobytes() for i in store.ordinals(held_out=True)]
    assert 2 <= len(held_out) < 12
    texts = held_out_texts(store, 20, 100)
    assert len(set(texts)) == 20
    for text in texts:
        assert text.startswith(b"value_")
        assert len(text) == 100
        assert sum(text in document for document in held_out) == 1


def test_distinct_grams_count_repetition() -> None:
    assert distinct_grams([bytes(range(50))]) == 1
    assert distinct_grams([b"a" * 50]) == pytest.approx(1 / 43)
    assert distinct_grams([b"short", b""]) == 0


def test_drafts_save_passes_and_change_no_output() -> None:
    model = trained_model("eva", "raw")
    prompts = [source_text()[start : start + 20] for start in (0, 100, 333)]
    tallies = continue_in_turn(model, prompts, GenerationOptions(max_new_bytes=30))
    assert tallies["one-byte"].bytes_per_pass <= 1
    for kind in ("chain", "tree"):
        assert tallies[kind].outputs == tallies["one-byte"].outputs
        assert tallies[kind].passes < tallies["one-byte"].passes


@pytest.mark.parametrize("drafter", [Chain(), Tree()])
def test_acceptance_on_a_models_own_text_is_that_of_writing_it(
    drafter: Chain | Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multi_byte, "PROMPT_BYTES", 20)
    monkeypatch.setattr(multi_byte, "DRAFTERS", {"ours": drafter})
    model = trained_model("eva", "raw")
    prompt = source_text()[:20]
    tallies = continue_in_turn(
        model, [prompt], GenerationOptions(max_new_bytes=60, temperature=1.0, seed=3)
    )
    tally = tallies["ours"]
    assert len(tally.outputs[0]) == 60
    accepted = accepted_on_texts(model, [prompt + tally.outputs[0]], drafter)
    assert accepted == pytest.approx(tally.bytes_per_pass - 1, abs=0.15)
