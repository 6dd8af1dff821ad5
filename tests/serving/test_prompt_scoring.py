"""A prompt's log-probabilities, piece by piece, beside the model's logits of the whole."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch

from proxylm.generation.raw_text import prompt_symbols
from proxylm.models.cache import Cache
from proxylm.serving.prompt_scoring import PIECE_SYMBOLS, PromptLogprobs, PromptScorer
from proxylm.symbols import BYTE_COUNT, EOS, RAW_CLOSE, RAW_OFFSET
from small_models import ATTENTIONS, small_model

MAY_FOLLOW = [EOS, RAW_CLOSE, *range(RAW_OFFSET, RAW_OFFSET + BYTE_COUNT)]


def scored(scorer: PromptScorer) -> tuple[PromptLogprobs, int]:
    passes = 0
    while not scorer.done:
        scorer.step()
        passes += 1
    return scorer.result, passes


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_entries_are_the_parallel_forms(attention: str) -> None:
    model = small_model(seed=1, attention=ATTENTIONS[attention], sharpness=5.0)
    prompt = np.random.default_rng(0).integers(0, 256, 600, dtype=np.uint8).tobytes()
    result, passes = scored(PromptScorer(model, prompt, alternatives=3))
    assert passes == -(-(len(prompt) + 1) // PIECE_SYMBOLS)

    ids = torch.from_numpy(prompt_symbols(prompt, sentinels=True))[None]
    with torch.inference_mode():
        logits = model.logits(ids)[0, :, 0]
    kept = torch.full_like(logits, -torch.inf)
    kept[:, MAY_FOLLOW] = logits[:, MAY_FOLLOW]
    reference = torch.log_softmax(kept.double(), dim=-1)[1:-1]
    targets = [entry.symbol - RAW_OFFSET for entry in result.entries]
    assert bytes(targets) == prompt
    for entry, row in zip(result.entries, reference, strict=True):
        assert entry.logprob == pytest.approx(float(row[entry.symbol]), abs=2e-4)
        best = torch.topk(row, 3)
        assert [value for _, value in entry.alternatives] == pytest.approx(
            best.values.tolist(), abs=2e-4
        )


def test_the_empty_prompt_is_done_at_once() -> None:
    scorer = PromptScorer(small_model(), b"", alternatives=0)
    assert scored(scorer) == (PromptLogprobs(entries=()), 1)


def test_no_cache_is_held_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Cache]] = []
    model = small_model()
    new_cache = model.new_cache

    def noted(rows: int) -> Cache:
        cache = new_cache(rows)
        made.append(weakref.ref(cache))
        return cache

    monkeypatch.setattr(model, "new_cache", noted)
    scorer = PromptScorer(model, b"ab" * PIECE_SYMBOLS, alternatives=0)
    assert made == []
    scorer.step()
    assert made[0]() is not None
    scored(scorer)
    assert [cache() for cache in made] == [None]


def test_without_sentinels_the_first_byte_follows_the_beginning() -> None:
    model = small_model(sentinels=False)
    result, _ = scored(PromptScorer(model, b"ab", alternatives=1))
    assert [entry.symbol - RAW_OFFSET for entry in result.entries] == list(b"ab")
    assert all(entry.alternatives[0][0] != RAW_CLOSE for entry in result.entries)
