"""Decoding from any symbols beside the plain definition, and beside the decoding of bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from proxylm.compressors.contract import CompressedView, Compressor
from proxylm.errors import CheckpointError, DataError
from proxylm.generation.decoding import Completion, complete
from proxylm.generation.decoding_row import Finish
from proxylm.generation.drafts import Tree
from proxylm.generation.options import SymbolOptions, generation_options
from proxylm.generation.request import ByteRequest, CompressedSpeller, SymbolRequest
from proxylm.generation.sampling import draw, uniform
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import (
    BOS,
    COMPRESSED_CLOSE,
    COMPRESSED_OFFSET,
    COMPRESSED_OPEN,
    EOS,
    RAW_CLOSE,
    RAW_OFFSET,
    RAW_OPEN,
)
from small_models import small_model

WORDS = [b"a", b"bc", b"\xc3", b"\xa9", b"end", b"\n", b"def ", b"  "]


class WordCompressor(Compressor):
    """Symbols of several bytes; symbol 7 stands for nothing unless another 7 follows."""

    kind = "words"
    reversible = True
    symbol_count = len(WORDS)

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    def encode(self, documents: Any) -> list[Any]:
        return [CompressedView(symbols=np.zeros(len(data), np.uint32)) for data in documents]

    def decode(self, symbols: Any) -> list[bytes]:
        return [self._one(row.tolist()) for row in symbols]

    def _one(self, symbols: list[int]) -> bytes:
        if symbols and symbols[-1] == 7 and symbols.count(7) % 2:
            raise DataError("half a unit")
        return b"".join(WORDS[symbol] for symbol in symbols)


def compressed_prompt(*symbols: int) -> np.ndarray:
    return np.array([BOS, COMPRESSED_OPEN, *(s + COMPRESSED_OFFSET for s in symbols)], np.int64)


def plain_symbols(
    model: LanguageModel,
    prompt: np.ndarray,
    allowed: list[int],
    options: SymbolOptions,
    sample: int,
) -> list[int]:
    """The definition: the whole sequence again for every symbol."""
    ids, chosen = prompt.tolist(), []
    for position in range(options.max_new_symbols):
        logits = model.logits(torch.tensor([ids]))[0, -1, 0].numpy()
        masked = np.full_like(logits, -np.inf)
        masked[allowed] = logits[allowed]
        if options.temperature == 0:
            symbol = int(np.argmax(masked))
        else:
            number = uniform(options.seed, sample, position)
            symbol = draw(masked, options.temperature, options.top_p, number)
        if symbol in (EOS, COMPRESSED_CLOSE, RAW_CLOSE):
            break
        ids.append(symbol)
        chosen.append(symbol - COMPRESSED_OFFSET)
    return chosen


@torch.no_grad()
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_symbols_are_those_of_the_definition(temperature: float) -> None:
    model, compressor = small_model(seed=3, sharpness=20), WordCompressor()
    prompts, samples = [[1], [0, 5, 6, 2, 2], []], [4, 5, 6]
    options = SymbolOptions(max_new_symbols=12, temperature=temperature, top_p=0.9, seed=5)
    requests = [
        SymbolRequest(
            prompt=np.array(prompt, np.uint32),
            compressor=compressor,
            options=options,
            sample=sample,
        )
        for prompt, sample in zip(prompts, samples, strict=True)
    ]
    ours = complete(model, requests)
    allowed = [EOS, COMPRESSED_CLOSE, *range(COMPRESSED_OFFSET, COMPRESSED_OFFSET + len(WORDS))]
    lengths = []
    for prompt, completion, sample in zip(prompts, ours, samples, strict=True):
        symbols = plain_symbols(model, compressed_prompt(*prompt), allowed, options, sample)
        if symbols.count(7) % 2 == 0:
            assert completion.data == b"".join(WORDS[symbol] for symbol in symbols)
        lengths.append(len(symbols))
    assert max(lengths) > 3


def test_bytes_and_symbols_are_decoded_together_with_and_without_drafts() -> None:
    model, compressor = small_model(seed=7, sharpness=20), WordCompressor()
    symbols = SymbolRequest(
        prompt=np.array([0, 5], np.uint32),
        compressor=compressor,
        options=SymbolOptions(max_new_symbols=12),
    )
    data, drafted = (
        ByteRequest(
            prompt=b"def f(x):\n", options=generation_options(max_new_bytes=24, drafter=drafter)
        )
        for drafter in (None, Tree())
    )
    alone = [complete(model, [request])[0] for request in (symbols, data)]
    assert all(len(completion.data) > 2 for completion in alone)
    assert complete(model, [symbols, data]) == alone
    assert complete(model, [symbols, drafted]) == alone


@torch.no_grad()
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_prefix_stands_in_place_of_the_opening(temperature: float) -> None:
    model = small_model(seed=2, sharpness=12)
    prompt, symbols = b"a(x", compressed_prompt(1, 6, 2)
    prefix = np.concatenate([symbols, [COMPRESSED_CLOSE, RAW_OPEN]])
    drawing: dict[str, Any] = {"temperature": temperature, "top_p": 0.95, "seed": 9}
    options = generation_options(max_new_bytes=16, **drawing)
    [ours] = complete(model, [ByteRequest(prompt=prompt, prefix=prefix, options=options, sample=3)])
    read = np.concatenate([prefix, [value + RAW_OFFSET for value in prompt]])
    allowed = [EOS, RAW_CLOSE, *range(RAW_OFFSET, RAW_OFFSET + 256)]
    expected = plain_symbols(
        model, read, allowed, SymbolOptions(max_new_symbols=16, **drawing), sample=3
    )
    values = [symbol + COMPRESSED_OFFSET - RAW_OFFSET for symbol in expected]
    assert ours.data == bytes(values) and values


def test_spelling_waits_for_whole_units_and_never_shows_the_prompt() -> None:
    speller = CompressedSpeller(WordCompressor(), np.array([4, 0], np.uint32))
    fed = [speller.spell(symbol) for symbol in (1, 7, 7, 2, 3)]
    assert fed == [b"bc", b"", b"    ", b"\xc3", b"\xa9"]


def forced_model(*symbols: int) -> LanguageModel:
    """A model that writes these ids, whatever it reads: each id's embedding selects the next."""
    model = small_model(seed=1)
    weight = model.lm_head.weight.data.zero_()
    hidden = model.hidden(torch.tensor([[BOS, COMPRESSED_OPEN]]))[0, -1]
    for rank, symbol in enumerate(reversed(symbols)):
        weight[symbol] = hidden * (1 + rank)
    return model


def complete_once(model: LanguageModel, **options: Any) -> Completion:
    request = SymbolRequest(
        prompt=np.empty(0, np.uint32),
        compressor=WordCompressor(),
        options=SymbolOptions(**{"max_new_symbols": 1} | options),
    )
    [completion] = complete(model, [request])
    return completion


def test_ends_stops_and_limits() -> None:
    end_word = COMPRESSED_OFFSET + 4
    assert complete_once(forced_model(end_word)) == Completion(data=b"end", finish=Finish.LIMIT)
    stopped = complete_once(forced_model(end_word), stop=(b"nd",))
    assert stopped == Completion(data=b"e", finish=Finish.STOP)
    for closing in (EOS, COMPRESSED_CLOSE):
        ended = complete_once(forced_model(closing, end_word), max_new_symbols=5)
        assert ended == Completion(data=b"", finish=Finish.END)
    nothing = complete_once(forced_model(end_word), max_new_symbols=0)
    assert nothing == Completion(data=b"", finish=Finish.LIMIT)


def test_what_cannot_follow_is_never_chosen() -> None:
    unknown = COMPRESSED_OFFSET + len(WORDS)
    for forbidden in (RAW_CLOSE, 64 + 97, unknown):
        written = complete_once(forced_model(forbidden, COMPRESSED_OFFSET + 5))
        assert written.data == b"\n"


def test_weights_that_are_no_numbers_are_an_error() -> None:
    model = small_model()
    model.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not a number"):
        complete_once(model)
