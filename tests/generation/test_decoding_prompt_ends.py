"""A prompt's end that is given up is written again: stripped, kept or healed, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from longest_words import LongestWords
from oracle_models import ScriptedModule
from proxylm.compressors.registry import load_compressor
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.training import BpeTraining
from proxylm.errors import UsageError
from proxylm.evaluation.answers.writers import TokensWriter
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding import Completion
from proxylm.generation.decoding_row import Finish
from proxylm.generation.options import SymbolOptions, generation_options
from proxylm.generation.prompt_ends import AfterPrompt, Healing, Spellings
from proxylm.generation.sampling import draw, uniform
from proxylm.generation.token_reading import TokenReading
from proxylm.scoring.read_as import PromptEnd
from proxylm.symbols import BOS, COMPRESSED_CLOSE, COMPRESSED_OFFSET, COMPRESSED_OPEN, EOS
from small_models import small_model

WORDS = [b"a", b"b", b"ab", b"abc", b"\n", b"\n  ", b"x", b" ", b"c", b"", b"bc\n", b"q"]
END = "end"


def scripted(read: Sequence[bytes], written: Sequence[bytes | str]) -> TokenReading:
    """A model that continues these words with those, almost surely."""
    ids = {word: COMPRESSED_OFFSET + index for index, word in enumerate(WORDS)}
    answer = [COMPRESSED_CLOSE if one == END else ids[one] for one in written]  # type: ignore[index]
    prompt = [BOS, COMPRESSED_OPEN, *(ids[word] for word in read)]
    module = ScriptedModule([(prompt, answer)], compressed_symbols=len(WORDS))
    return TokenReading(ByteModel(module), LongestWords(WORDS))


def completed(reading: TokenReading, prompt: bytes, end: str | None = None, **options: Any) -> Any:
    ends = {} if end is None else {"prompt_end": PromptEnd(end)}
    [found] = reading.complete([prompt], SymbolOptions(**ends, **options), samples=[0])
    return found


@pytest.mark.parametrize(
    ("end", "read", "written", "expected"),
    [
        (None, [b"x"], [b"\n  ", b"a", END], b"  a"),  # strip is the default
        ("strip", [b"x"], [b"\n  ", b"a", END], b"  a"),
        ("strip", [b"x"], [b"\n", b"\n", b"a", END], b"\na"),
        ("strip", [b"x"], [b"a", b"\n", END], b"a\n"),  # something else: all of it follows
        ("strip", [b"x"], [b" ", b"\n", END], b" \n"),
        ("strip", [b"x"], [END], b""),
        ("keep", [b"x", b"\n"], [b"a", END], b"a"),
        ("heal", [b"x"], [b"\n  ", b"a", END], b"  a"),
    ],
)
def test_the_answer_is_what_follows_the_prompt(
    end: str | None, read: list[bytes], written: list[bytes | str], expected: bytes
) -> None:
    found = completed(scripted(read, written), b"x\n", end)
    assert found == Completion(data=expected, finish=Finish.END)


def test_a_prompt_of_white_space_may_be_stripped_whole() -> None:
    assert completed(scripted([], [b"\n", b" ", b"a", END]), b"\n ").data == b"a"
    assert completed(scripted([], [b"\n", END]), b"\n ").data == b""  # a beginning of its end


def test_healing_spans_several_tokens() -> None:
    """``abc`` is dropped; the model likes ``ab``, then what begins with ``c``, then the rest."""
    found = completed(scripted([b"x"], [b"ab", b"c", b"\n", END]), b"xabc", "heal")
    assert found == Completion(data=b"\n", finish=Finish.END)
    found = completed(scripted([b"x"], [b"a", b"bc\n", b"x", END]), b"xabc", "heal")
    assert found == Completion(data=b"\nx", finish=Finish.END)


def test_healing_goes_against_the_model_and_never_ends_before_the_prompt_does() -> None:
    # It would write x, or end; no script goes on after what it must write instead.
    for written in ([b"x"], [END]):
        found = completed(scripted([b"x"], written), b"xabc", "heal", max_new_symbols=1)
        assert found == Completion(data=b"", finish=Finish.LIMIT)
    assert completed(scripted([], [b"x", END]), b"", "heal").data == b"x"


def test_stop_strings_are_looked_for_after_the_prompt() -> None:
    """The line feed that the prompt ends with begins no stop string of the answer's."""
    for end in ("strip", "heal"):
        reading = scripted([b"x"], [b"\n", b"ab", b"\n", b"ab", END])
        found = completed(reading, b"x\n", end, stop=(b"\nab",))
        assert found == Completion(data=b"ab", finish=Finish.STOP)


@torch.no_grad()
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_healed_symbols_are_those_of_the_definition(temperature: float) -> None:
    """Drawn from the model's own distribution over what can spell the dropped bytes first."""
    model = small_model(seed=5, sharpness=12, vocabulary_size=COMPRESSED_OFFSET + len(WORDS))
    reading = TokenReading(ByteModel(model), LongestWords(WORDS))
    options = SymbolOptions(
        max_new_symbols=6, temperature=temperature, top_p=0.9, seed=3, prompt_end=PromptEnd.HEAL
    )
    answers = set()
    for sample in range(8):
        ids, text = [BOS, COMPRESSED_OPEN, COMPRESSED_OFFSET + WORDS.index(b"x")], b""
        for position in range(6):
            rest = b"abc"[len(text) :]
            logits = model.logits(torch.tensor([ids]))[0, -1, 0].numpy()
            masked = np.full_like(logits, -np.inf)
            for symbol, word in enumerate(WORDS):
                fits = word.startswith(rest) or (word != b"" and rest.startswith(word))
                if not rest or fits:
                    masked[symbol + COMPRESSED_OFFSET] = logits[symbol + COMPRESSED_OFFSET]
            if not rest:
                masked[[EOS, COMPRESSED_CLOSE]] = logits[[EOS, COMPRESSED_CLOSE]]
            number = uniform(3, sample, position)
            chosen = draw(masked, temperature, 0.9, number)
            if chosen < COMPRESSED_OFFSET:
                break
            ids.append(chosen)
            text += WORDS[chosen - COMPRESSED_OFFSET]
        [found] = reading.complete([b"xabc"], options, samples=[sample])
        assert text.startswith(b"abc") and found.data == text[3:]
        answers.add(found.data)
    assert len(answers) == 1 if temperature == 0 else len(answers) > 1


def test_a_beginning_that_nothing_completes_is_not_allowed() -> None:
    spellings = Spellings([b"a", b"ab", b"abcd", b"cd", b"", b"bx"])
    healing = Healing(spellings, b"abc")
    assert np.flatnonzero(healing.allowed(9).values).tolist() == [1, 2]  # "a" leads nowhere
    healing.advance(1)
    assert np.flatnonzero(healing.allowed(9).values).tolist() == [3]
    assert not healing.allowed(9).may_end
    healing.advance(3)
    assert healing.allowed(9).values.all() and healing.allowed(9).may_end


def test_symbols_by_their_bytes_are_those_of_a_plain_search() -> None:
    texts = [bytes(one) for size in range(4) for one in product(b"a\xff", repeat=size)]
    spellings = Spellings([*texts, b"a"])
    for text in [*texts, b"\x00", b"\xff" * 5]:
        found = sorted(spellings.beginning_with(text))
        assert found == [i for i, one in enumerate([*texts, b"a"]) if one.startswith(text)]
        assert sorted(spellings.equal_to(text)) == [
            i for i, one in enumerate([*texts, b"a"]) if one == text
        ]


def test_pieces_of_a_prompts_end_are_held_back() -> None:
    spell = AfterPrompt(lambda symbol: WORDS[symbol], b"\n ")
    assert [spell(WORDS.index(one)) for one in (b"\n", b"x", b"\n")] == [b"", b"\nx", b"\n"]


@cache
def tokenizer() -> TokenizerCompressor:
    texts = ["def area(radius):\n    return radius\n", "the area of the circle: café"]
    return TokenizerCompressor(BpeTraining(vocabulary_size=290).train(texts))


@pytest.mark.parametrize("prompt", [b"def are", "the caf\u00e9".encode()[:-1], b"the ", b"d"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_a_tokenizers_model_writes_begins_with_the_prompt(
    prompt: bytes, temperature: float
) -> None:
    """Exact to the byte, also where the prompt ends inside a character."""
    size = COMPRESSED_OFFSET + tokenizer().symbol_count
    reading = TokenReading(ByteModel(small_model(vocabulary_size=size, sharpness=9)), tokenizer())
    options = SymbolOptions(
        temperature=temperature, max_new_symbols=12, seed=2, prompt_end=PromptEnd.HEAL
    )
    [request] = reading.requests([prompt], options, [0])
    assert len(request.prompt) == len(tokenizer().compress([prompt])[0]) - 1
    [kept] = tokenizer().decompress([request.prompt])
    assert kept + tokenizer().token_bytes[request.dropped[0]] == prompt == kept + request.end
    [found] = reading.complete([prompt], options, [0])
    assert found.data


def test_symbols_without_bytes_of_their_own_cannot_be_healed() -> None:
    compressor = load_compressor("units:bits=4")
    reading = TokenReading(ByteModel(small_model()), compressor)
    refusal = "symbols of 'units' spell no bytes of their own"
    with pytest.raises(UsageError, match=refusal):
        completed(reading, b"ab", "heal")
    with pytest.raises(UsageError, match=refusal):  # also where nothing is generated
        TokensWriter(ByteModel(small_model()), compressor, PromptEnd.HEAL)


def test_bytes_are_kept_by_default_and_can_be_stripped() -> None:
    model = ByteModel(small_model(seed=2, sharpness=12))
    kept = model.generate(b"def f(x):\n", max_new_bytes=12)
    assert kept == model.generate(b"def f(x):\n", max_new_bytes=12, prompt_end="keep")
    assert kept == model.generate(b"def f(x):\n", max_new_bytes=12, prompt_end="heal")
    bare = model.generate(b"def f(x):", max_new_bytes=12)
    stripped = model.generate(b"def f(x):\n", max_new_bytes=12, prompt_end="strip")
    assert stripped == bare.removeprefix(b"\n") and stripped != kept
    drafted = {"prompt_end": "strip", "drafter": {"kind": "tree"}}
    assert model.generate(b"def f(x):\n", max_new_bytes=12, **drafted) == stripped


def test_a_stripped_prompt_takes_no_structured_output() -> None:
    with pytest.raises(UsageError, match="begins where the prompt ends"):
        generation_options(prompt_end="strip", utf8="strict")
