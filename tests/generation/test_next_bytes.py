"""The exact distribution over bytes of a model of tokens, against every sequence of tokens."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch

from longest_words import LongestWords
from proxylm.errors import DataError, UsageError
from proxylm.evaluation.answers.writers import TokensWriter
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.next_bytes import ExactBytes, Following, ModelTokens, NextBytes, Tokens
from proxylm.generation.options import SymbolOptions
from proxylm.generation.prompt_ends import Spellings
from proxylm.generation.token_reading import TokenReading
from proxylm.scoring.read_as import PromptEnd
from proxylm.symbols import COMPRESSED_OFFSET, Format, opening
from small_models import ATTENTIONS, small_model

TOKENS = [b"a", b"b", b"ab", b"", b"aba", b"bb", b"b"]
SPELLINGS = Spellings(TOKENS)
LONGEST = LongestWords(TOKENS)


@cache
def after(tokens: Tokens) -> tuple[float, ...]:
    """Some distribution that depends on all tokens before: by token, and the end."""
    drawn = np.random.default_rng([7, *tokens]).gamma(0.5, size=len(TOKENS) + 1)
    drawn[TOKENS.index(b"")] = 0
    return tuple((drawn / drawn.sum()).tolist())


def following(tokens: Tokens) -> Following:
    return np.array(after(tokens))[SPELLINGS.order]


def every_text(length: int) -> Counter[bytes]:
    """Probability of every beginning of so many bytes, and of whole texts that are shorter."""
    found: Counter[bytes] = Counter()
    growing = [((), b"", 1.0)]
    while growing:
        tokens, text, probability = growing.pop()
        if len(text) >= length:
            found[text[:length]] += probability
            continue
        *of_tokens, end = after(tokens)
        found[text + b"."] += probability * end
        growing += [
            ((*tokens, token), text + TOKENS[token], probability * one)
            for token, one in enumerate(of_tokens)
            if one
        ]
    return found


def test_texts_and_next_bytes_have_the_probability_of_all_their_covers() -> None:
    for length in range(5):
        texts = every_text(length)
        longer = every_text(length + 1)
        for text, probability in texts.items():
            if text.endswith(b"."):
                continue
            state = NextBytes(following, SPELLINGS, least_share=0)
            state.append(text)
            assert math.exp(state.log_probability) == pytest.approx(probability)
            found = state.probabilities() * probability
            wanted = np.zeros(256)
            wanted[list(b"ab")] = longer[text + b"a"], longer[text + b"b"]
            np.testing.assert_allclose(found, [*wanted, longer[text + b"."]], atol=1e-12)
            covered = sum(math.exp(cover.log_probability) for cover in state.covers())
            assert covered == pytest.approx(probability if text else 0)
            for cover in state.covers():
                spelled = SPELLINGS.spell([*cover.tokens, cover.last])
                assert spelled.startswith(text)
                assert len(SPELLINGS.spell(cover.tokens)) == cover.length < len(text)


def test_what_has_little_part_in_the_text_is_dropped_unless_it_is_kept() -> None:
    asked: list[Tokens] = []

    def recorded(tokens: Tokens) -> Following:
        asked.append(tokens)
        return following(tokens)

    texts = every_text(6)
    errors, numbers, covers = [], [], []
    for share in (0.0, 0.005, 0.3):
        asked.clear()
        state = NextBytes(recorded, SPELLINGS, least_share=share)
        state.append(b"ababab")
        errors.append(abs(math.exp(state.log_probability) / texts[b"ababab"] - 1))
        numbers.append(len(asked))
        covers.append(len(state.covers()))
        assert state.probabilities().sum() == pytest.approx(1)
    assert errors[0] < 1e-9 and errors[0] < errors[1] < 0.1
    assert numbers[0] > numbers[1] > numbers[2] and covers[0] > covers[1] > covers[2]
    kept = (0, 1, 0, 1, 0)
    asked.clear()
    state = NextBytes(recorded, SPELLINGS, least_share=0.9, kept=kept)
    state.append(b"ababab")
    assert kept in asked


def test_of_many_sequences_the_most_probable_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxylm.generation.next_bytes.MOST_FOLLOWED", 3)
    texts = every_text(6)
    state = NextBytes(following, SPELLINGS, least_share=1e-12)
    state.append(b"ababab")
    tokens = {cover.tokens for cover in state.covers()}
    assert 1 <= len(tokens - {()}) <= 3  # before any token there is always something to follow
    assert 0.1 < math.exp(state.log_probability) / texts[b"ababab"] < 1


def test_bytes_that_no_tokens_spell_are_an_error() -> None:
    state = NextBytes(following, SPELLINGS)
    with pytest.raises(DataError, match="no tokens that are followed spell b'abc'"):
        state.append(b"abc")


@pytest.fixture(params=["eva", "causal"])
def model(request: pytest.FixtureRequest) -> ByteModel:
    attention = ATTENTIONS[request.param]
    size = COMPRESSED_OFFSET + len(TOKENS)
    made = small_model(
        attention=attention, vocabulary_size=size, prediction_heads=1, sharpness=20.0
    )
    return ByteModel(made)


def test_the_cached_row_gives_what_whole_forwards_give(model: ByteModel) -> None:
    prefix = opening(Format.COMPRESSED, sentinels=True)
    asked = ModelTokens(model.module, prefix, SPELLINGS)
    long = tuple(np.random.default_rng(1).choice([0, 1, 2, 4], size=70).tolist())
    # On, back a little, another way, back over windows of 16, the same again.
    for tokens in ((), long[:5], long[:4], (*long[:3], 1, 2), long, long[:6], long[:69], long[:69]):
        with torch.inference_mode():
            found = asked.following(tokens)
        ids = torch.tensor([[*prefix, *(token + COMPRESSED_OFFSET for token in tokens)]])
        logits = model.logits(ids)[0, -1, 0].double()
        allowed = [2, 15, *range(COMPRESSED_OFFSET, len(logits))]
        wanted = torch.softmax(logits[allowed], -1)[2:].numpy()
        wanted[TOKENS.index(b"")] = 0
        np.testing.assert_allclose(found, wanted[SPELLINGS.order], atol=1e-5)
        assert found.sum() < 1


def test_a_sampled_answer_has_the_distribution_of_the_next_byte(
    model: ByteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = TokenReading(model, LONGEST)
    monkeypatch.setattr("proxylm.generation.next_bytes.BYTES_AROUND_THE_END", 5)
    prompt = b"abbababbab"
    exact = ExactBytes(model.module, reading.scoring, SPELLINGS)
    state, read_before = exact.after(prompt)
    assert read_before == 3  # where a token ends
    wanted = state.probabilities()
    options = SymbolOptions(prompt_end=PromptEnd.EXACT, temperature=1.0, max_new_symbols=2, seed=5)
    count = 200
    drawn = reading.complete([prompt] * count, options, samples=range(count))
    first = Counter(one.data[0] if one.data else 256 for one in drawn)
    for value in (ord("a"), ord("b"), 256):
        spread = math.sqrt(wanted[value] * (1 - wanted[value]) / count)
        assert abs(first[value] / count - wanted[value]) <= 3.5 * spread + 1e-3
    assert 0.02 < wanted[ord("a")] < 0.98


def test_the_greedy_answer_follows_the_most_probable_cover(model: ByteModel) -> None:
    reading = TokenReading(model, LONGEST)
    options = SymbolOptions(prompt_end=PromptEnd.EXACT, max_new_symbols=6, temperature=0.0)
    [best, *others] = ExactBytes(model.module, reading.scoring, SPELLINGS).covers(b"abab")
    assert sum(math.exp(one.log_probability - best.log_probability) for one in others) > 0.2
    found, *again = reading.complete([b"abab"] * 12, options, samples=range(12))
    assert all(one.data == found.data for one in again)
    kept = options.model_copy(update={"prompt_end": PromptEnd.KEEP})
    of_nothing = [reading.complete([b""], one, samples=[0])[0].data for one in (options, kept)]
    assert of_nothing[0] == of_nothing[1]
    tokens = [*best.tokens, best.last]
    asked = ModelTokens(model.module, reading.scoring.prefix.tolist(), SPELLINGS)
    with torch.inference_mode():
        while len(tokens) < len(best.tokens) + 6:
            likely = asked.following(tuple(tokens))
            tokens.append(SPELLINGS.order[int(likely.argmax())])
    assert SPELLINGS.spell(tokens).startswith(b"abab" + found.data)


def test_bits_do_not_depend_on_where_the_prompt_ends(model: ByteModel) -> None:
    scorer = TokensWriter(model, LONGEST, PromptEnd.EXACT).scorer
    text = b"abbaba"
    whole = scorer.bits([b""], [text])[0]
    bits = [scorer.bits([text[:at]], [text[at:]])[0] for at in range(len(text))]
    parts = [scorer.bits([text[:at]], [text[at:end]])[0] for at, end in pairwise(range(7))]
    assert sum(parts) == pytest.approx(whole, rel=1e-4)
    assert bits[2] == pytest.approx(sum(parts[2:]), rel=1e-4)
    kept = TokensWriter(model, LONGEST, PromptEnd.KEEP).scorer
    assert whole < kept.bits([b""], [text])[0]  # one way among all


def test_far_behind_the_prompt_text_is_read_as_it_is_cut(
    model: ByteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxylm.generation.next_bytes.BYTES_AROUND_THE_END", 2)
    reading = TokenReading(model, LONGEST).scoring
    text, prompt = b"aaabbbaabb", b"aaa"
    tokens, starts = reading.read(text)
    assert starts.tolist()[:5] == [0, 1, 2, 4, 6]  # a a ab bb ...
    exact = ExactBytes(model.module, reading, SPELLINGS)
    state, _ = exact.after(prompt, text[3:])
    before = state.log_probability
    state.append(text[3:6])
    logits = model.logits(torch.tensor([[*reading.prefix, *tokens]]))[0, :, 0].double()
    steps = torch.log_softmax(logits[:-1], -1)[range(len(tokens) + 1), [14, *tokens]]
    rest = float(steps[1 + 4 :].sum())
    wanted = (before - state.log_probability_of_a_cut - rest) / math.log(2)
    assert exact.bits(prompt, text[3:]) == pytest.approx(wanted, rel=1e-4)
    assert state.log_probability_of_a_cut < state.log_probability


def test_symbols_without_bytes_of_their_own_cover_nothing(model: ByteModel) -> None:
    class Silent(LongestWords):
        spellings = None

    with pytest.raises(UsageError, match="covered token by token, and symbols of 'longest-words'"):
        TokensWriter(model, Silent(TOKENS), PromptEnd.EXACT)
