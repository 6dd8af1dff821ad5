"""Measuring drafts: what is counted, and that it is what decoding does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from proxylm.bench import drafts
from proxylm.bench.drafts import (
    bytes_per_pass_on,
    continue_in_turn,
    distinct_grams,
    run_drafts_benchmark,
    stretches,
)
from proxylm.errors import UsageError
from proxylm.generation.drafts import Chain, Drafter, Lookup, Tree
from proxylm.generation.options import GenerationOptions
from proxylm.models.cache import Cache
from proxylm.models.feed import Feed
from small_models import small_model
from trained_models import source_text, trained_model

DRAFTERS: dict[str, Drafter] = {"chain": Chain(), "tree": Tree(), "lookup": Lookup()}


def test_stretches_begin_lines_and_differ() -> None:
    documents = [
        "".join(f"value_{index}_{line} = {line * index}\n" for line in range(60)).encode()
        for index in range(6)
    ]
    texts = stretches([*documents, b"short"], 20, 100)
    assert len(set(texts)) == 20
    for text in texts:
        assert text.startswith(b"value_")
        assert len(text) == 100
        assert sum(text in document for document in documents) == 1
    with pytest.raises(UsageError, match="no text has 200 bytes"):
        stretches([b"short"], 1, 100)


def test_a_model_on_files(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(source_text())
    lengths = {"prompts": 2, "prompt_bytes": 200, "new_bytes": 20}
    model = trained_model("causal", "one")
    found = {row.case: row for row in run_drafts_benchmark(model, [tmp_path / "text"], **lengths)}
    assert found["drafts/lookup/same-bytes"].value == 1
    assert found["drafts/lookup/bytes-per-pass"].value > 1.5
    assert found["drafts/lookup/on-text"].value > 1.5
    assert "drafts/tree" not in found
    with pytest.raises(UsageError, match="missing: No such file"):
        run_drafts_benchmark(model, [tmp_path / "missing"], **lengths)


def test_a_model_that_ends_at_once_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(source_text())
    lengths = {"prompts": 1, "prompt_bytes": 20, "new_bytes": 10}
    model = small_model(seed=0, prediction_heads=1)
    model.lm_head.weight.data.zero_()  # of equal symbols the first one is chosen, which ends
    with pytest.raises(UsageError, match="ends every text at once"):
        run_drafts_benchmark(model, [tmp_path / "text"], **lengths)


def test_distinct_grams_count_repetition() -> None:
    assert distinct_grams([bytes(range(50))]) == 1
    assert distinct_grams([b"a" * 50]) == pytest.approx(1 / 43)
    assert distinct_grams([b"short", b""]) == 0


def test_drafts_save_passes_and_change_no_output() -> None:
    model = trained_model("eva", "raw")
    prompts = [source_text()[start : start + 20] for start in (0, 100, 333)]
    tallies = continue_in_turn(model, prompts, GenerationOptions(max_new_bytes=30), DRAFTERS)
    assert tallies["one-byte"].bytes_per_pass == 1
    for kind in DRAFTERS:
        assert tallies[kind].outputs == tallies["one-byte"].outputs
        assert tallies[kind].passes < tallies["one-byte"].passes


@pytest.mark.parametrize("drafter", [Chain(), Tree(), Lookup()])
def test_acceptance_on_a_models_own_text_is_that_of_writing_it(drafter: Drafter) -> None:
    model = trained_model("eva", "raw")
    prompt = source_text()[:20]
    options = GenerationOptions(max_new_bytes=60, temperature=1.0, seed=3)
    tally = continue_in_turn(model, [prompt], options, {"ours": drafter})["ours"]
    assert len(tally.outputs[0]) == 60
    per_pass = bytes_per_pass_on(model, [prompt + tally.outputs[0]], len(prompt), drafter)
    assert per_pass == pytest.approx(tally.bytes_per_pass, abs=0.15)


def test_a_steps_cost_is_that_of_so_many_symbols_over_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    fed: list[tuple[int, int]] = []
    step = model.step_feed

    def counted(symbols: torch.Tensor, cache: Cache, feed: Feed) -> torch.Tensor:
        fed.append((len(symbols), int(cache.positions[0])))
        return step(symbols, cache, feed)

    monkeypatch.setattr(model, "step_feed", counted)
    monkeypatch.setattr(
        drafts, "alternate", lambda *actions, **_: [run() or 6.0 for run in actions]
    )
    steps = drafts.StepCosts(model, b"def area(radius):\n")
    [(read, at)] = fed
    assert at == 0 and read > 18
    assert steps.of(3) == 1.0
    times = drafts.STEPS_PER_TIMING
    assert fed[1:] == [(3, read)] * times + [(1, read)] * times


def test_symbols_are_counted_with_those_that_were_drafted() -> None:
    model, prompt = small_model(), b"ab" * 20
    options = GenerationOptions(max_new_bytes=12)
    tallies = continue_in_turn(model, [prompt], options, {"lookup": Lookup(nodes=3)})
    one, lookup = tallies[drafts.ONE_BYTE], tallies["lookup"]
    assert one.fed == one.passes
    assert lookup.passes < lookup.fed <= 4 * lookup.passes
