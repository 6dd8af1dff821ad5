"""Going on from what was read before gives what reading everything gives."""

from __future__ import annotations

import numpy as np
import pytest

from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.drafts import Chain, Drafter, Lookup
from proxylm.generation.options import generation_options
from proxylm.generation.prefill import Room
from proxylm.generation.prefix_memory import PrefixMemory
from proxylm.generation.request import ByteRequest
from proxylm.models.config import CausalAttention, EvaAttention
from proxylm.models.language_model import LanguageModel
from small_models import small_model

BLOCK = 8
ATTENTIONS = {"eva": EvaAttention(window=32, chunk=4), "causal": CausalAttention(kv_heads=1)}
SYSTEM = b"Answer in one word, and answer what was asked. " * 3
QUESTIONS = [b"What is red?", b"What is read?", b"", b"What is red? A colour."]


@pytest.fixture(scope="module", params=list(ATTENTIONS))
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return small_model(seed=3, context=512, attention=ATTENTIONS[request.param])


def asked(prompt: bytes, drafter: Drafter | None = None, **options: object) -> ByteRequest:
    chosen = generation_options(max_new_bytes=40, drafter=drafter, **options)
    return ByteRequest(prompt=prompt, options=chosen)


def answers(decoder: BatchDecoder, requests: list[ByteRequest]) -> list[bytes]:
    """One after the other, so that each can go on from those before."""
    found = []
    for request in requests:
        decoder.add(request)
        data = b""
        while decoder.active:
            data += b"".join(delta.data for delta in decoder.step() if not delta.of_prompt)
        found.append(data)
    return found


@pytest.mark.parametrize("drafter", [None, Chain(), Lookup()])
@pytest.mark.parametrize("options", [{}, {"temperature": 0.9, "top_p": 0.9, "seed": 4}])
def test_what_comes_out_is_the_same_with_and_without_it(
    model: LanguageModel, drafter: Drafter | None, options: dict[str, object]
) -> None:
    requests = [asked(SYSTEM + question, drafter, **options) for question in QUESTIONS]
    requests += [asked(SYSTEM[:100] + b"!" + SYSTEM, drafter, **options), requests[0]]
    memory = PrefixMemory(1 << 20, block_symbols=BLOCK)
    kept = answers(BatchDecoder(model, max_rows=2, prefixes=memory), requests)
    assert kept == answers(BatchDecoder(model, max_rows=2), requests)
    assert memory.hits == len(requests) - 1
    assert memory.reused_symbols > 4 * 128  # four alike, and one by its beginning alone


def test_a_conversation_goes_on_from_what_was_answered(model: LanguageModel) -> None:
    memory = PrefixMemory(1 << 20, block_symbols=BLOCK)
    decoder = BatchDecoder(model, max_rows=1, prefixes=memory)
    [answer] = answers(decoder, [asked(SYSTEM)])
    answers(decoder, [asked(SYSTEM + answer + b" And then?")])
    fed = 2 + len(SYSTEM + answer) - 1
    assert len(answer) == 40 and memory.reused_symbols > fed - BLOCK


def test_scored_prompts_are_read_whole(model: LanguageModel) -> None:
    memory = PrefixMemory(1 << 20, block_symbols=BLOCK)
    decoder = BatchDecoder(model, max_rows=1, prefixes=memory)
    scored = ByteRequest(
        prompt=SYSTEM, options=generation_options(max_new_bytes=2), logprobs=1, score_prompt=True
    )
    [first, second] = ([], [])
    for found in (first, second):
        decoder.add(scored)
        while decoder.active:
            found += decoder.step()
    assert memory.hits == 0
    assert sum(len(delta.data) for delta in second if delta.of_prompt) == len(SYSTEM)
    assert [one.logprobs for one in first] == [one.logprobs for one in second]


def test_several_completions_of_one_long_prompt_read_it_once(model: LanguageModel) -> None:
    class SmallPieces:
        def room(self, *, writing: bool) -> Room:
            return Room(64)

        def observe(self, seconds: float, *, read: int, writing: bool) -> None:
            pass

    memory = PrefixMemory(1 << 20, block_symbols=BLOCK)
    decoder = BatchDecoder(model, max_rows=4, prefixes=memory, pace=SmallPieces())  # type: ignore[arg-type]
    for _ in range(4):
        decoder.add(asked(SYSTEM))
    while decoder.active:
        decoder.step()
    assert memory.hits == 3


def test_memory_is_bounded_and_the_least_recently_used_leaves(model: LanguageModel) -> None:
    unbounded = PrefixMemory(1 << 30, block_symbols=BLOCK)
    answers(BatchDecoder(model, max_rows=1, prefixes=unbounded), [asked(SYSTEM)])
    memory = PrefixMemory(2 * unbounded.bytes, block_symbols=BLOCK)
    decoder = BatchDecoder(model, max_rows=1, prefixes=memory)
    for filler in range(12):
        answers(decoder, [asked(SYSTEM)])  # in use all the time
        answers(decoder, [asked(bytes([65 + filler]) * 100)])
        assert 0 < memory.bytes <= 2 * unbounded.bytes
    assert memory.hits == 11
    answers(decoder, [asked(b"A" * 100)])
    assert memory.hits == 11  # it was forgotten


def test_less_memory_than_a_prompt_takes_keeps_its_beginning(model: LanguageModel) -> None:
    whole = PrefixMemory(1 << 30, block_symbols=BLOCK)
    answers(BatchDecoder(model, max_rows=1, prefixes=whole), [asked(SYSTEM)])
    memory = PrefixMemory(whole.bytes // 2, block_symbols=BLOCK)
    decoder = BatchDecoder(model, max_rows=1, prefixes=memory)
    answers(decoder, [asked(SYSTEM), asked(SYSTEM)])
    assert memory.hits == 1 and 0 < memory.bytes <= whole.bytes // 2
    nothing = PrefixMemory(0)
    answers(BatchDecoder(model, max_rows=1, prefixes=nothing), [asked(SYSTEM), asked(SYSTEM)])
    assert nothing.hits == nothing.bytes == 0


def test_prompts_differ_by_their_symbols_and_not_by_their_bytes(model: LanguageModel) -> None:
    memory = PrefixMemory(1 << 20, block_symbols=BLOCK)
    decoder = BatchDecoder(model, max_rows=1, prefixes=memory)
    raw = asked(SYSTEM)
    compressed = np.concatenate([[1, 10], np.arange(320, 390), [11, 12]]).astype(np.int64)
    mixed = ByteRequest(prompt=SYSTEM, options=raw.options, prefix=compressed, covered=100)
    kept = answers(decoder, [raw, mixed, mixed])
    assert kept == answers(BatchDecoder(model, max_rows=1), [raw, mixed, mixed])
    assert memory.hits == 1
