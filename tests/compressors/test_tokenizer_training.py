"""Training: vocabulary sizes, what tokens may span, and merges that fit together."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest
from compressor_cases import TEXTS, TRAININGS
from tokenizers import Tokenizer

from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.specification import CHARACTER_OF_BYTE
from proxylm.compressors.tokenizer.training import (
    BpeTraining,
    Lines,
    SuperWords,
    UnigramTraining,
    shortfall,
    texts_of,
    tokenizer_training,
)
from proxylm.corpus.document import Document
from proxylm.errors import UsageError


def model_of(compressor: TokenizerCompressor) -> dict:
    return json.loads(compressor._file)["model"]


def rate(compressor: TokenizerCompressor) -> float:
    documents = [text.encode() for text in TEXTS]
    symbols = sum(map(len, compressor.compress(documents)))
    return sum(map(len, documents)) / symbols


@pytest.mark.parametrize("name", TRAININGS)
def test_the_vocabulary_has_the_size_asked_and_all_bytes(trained, name):
    compressor = trained[name]
    if "unigram" in name:
        # So little text has fewer pieces that are worth a place.
        assert 256 < compressor.symbol_count <= 400
    else:
        assert compressor.symbol_count == len(set(compressor.token_bytes)) == 400
    assert {bytes([byte]) for byte in range(256)} <= set(compressor.token_bytes)
    assert compressor.describe()["reversible"]


def test_the_same_texts_give_the_same_bpe(trained):
    for name in ("bpe", "line", "superbpe"):
        assert TRAININGS[name].train(iter(TEXTS)) == trained[name]._file


def test_tokens_span_what_the_pre_tokenization_allows(trained):
    def inner_spaces(name: str) -> list[bytes]:
        return [token for token in trained[name].token_bytes if b" " in token.strip()]

    def beyond_a_line(name: str) -> list[bytes]:
        return [one for one in trained[name].token_bytes if b"\n" in one.rstrip(b"\r\n")]

    for name in ("bpe", "unigram"):
        assert not inner_spaces(name)
    for name in ("line", "superbpe"):
        assert inner_spaces(name)
    assert not any(beyond_a_line(name) for name in TRAININGS)


def test_superbpe_keeps_the_first_stage_and_compresses_more(trained):
    words = BpeTraining(vocabulary_size=340).train(TEXTS)
    first = json.loads(words)["model"]["merges"]
    merges = model_of(trained["superbpe"])["merges"]
    assert merges[: len(first)] == first
    assert len(merges) == 400 - 256
    assert any("Ġ" in (left + right)[1:] for left, right in merges[len(first) :])
    assert rate(trained["superbpe"]) > rate(trained["bpe"])


def test_superbpe_s_second_stage_starts_where_the_first_ends(trained):
    """Every token must be reachable: encoded alone, it is itself."""
    library = Tokenizer.from_str(trained["superbpe"]._file.decode())
    for token, index in model_of(trained["superbpe"])["vocab"].items():
        assert [piece.id for piece in library.model.tokenize(token)] == [index]


def test_superbpe_is_what_training_step_by_step_gives():
    """The plain reference: merge the most frequent pair of neighbours, line by line."""
    text = "ab ab ab cd cd\nab cd ab cd\n" * 5
    first = json.loads(BpeTraining(vocabulary_size=261).train([text]))["model"]["merges"]
    training = BpeTraining(vocabulary_size=266, pre_tokenization=SuperWords(first_stage=261 / 266))
    merges = json.loads(training.train([text]))["model"]["merges"]
    assert merges[: len(first)] == first
    assert merges[len(first) :] == reference_merges(text, first, 266 - 256 - len(first))


def reference_merges(text: str, first: list[list[str]], count: int) -> list[list[str]]:
    lines = [list(line.replace(" ", "Ġ") + "Ċ") for line in text.splitlines()]
    order = [CHARACTER_OF_BYTE[byte] for byte in range(256)]
    for merge in first:
        lines = [apply(line, merge) for line in lines]
        order.append("".join(merge))
    found: list[list[str]] = []
    for _ in range(count):
        pairs = Counter(pair for line in lines for pair in pairwise(line))
        # Ties go to the older tokens.
        best = min(pairs, key=lambda pair: (-pairs[pair], *map(order.index, pair)))
        found.append(list(best))
        order.append("".join(best))
        lines = [apply(line, found[-1]) for line in lines]
    return found


def apply(line: list[str], merge: list[str]) -> list[str]:
    done: list[str] = []
    for token in line:
        if done and [done[-1], token] == merge:
            done[-1] += token
        else:
            done.append(token)
    return done


def test_text_that_is_not_utf8_teaches_only_its_valid_part():
    raws = [b"d", b"ab\xffc", b"\xff"]
    documents = [Document(id=f"file-{n}", raw=raw) for n, raw in enumerate(raws)]
    told: list[str] = []
    assert list(texts_of(documents, told.append)) == ["d", "abc", ""]
    assert [line.split(";")[0] for line in told] == [
        "documents with bytes that are not UTF-8: 2 (first: file-1)"
    ]
    assert list(texts_of(documents[:1], told.append)) == ["d"]
    assert len(told) == 1


@pytest.mark.parametrize("text", ["a", "ab ab", "one two three " * 5])
@pytest.mark.parametrize("kind", ["bpe default", "unigram default", "bpe superbpe"])
def test_a_vocabulary_that_the_text_cannot_fill_is_told(text, kind):
    algorithm, borders = kind.split()
    values = {"algorithm": algorithm, "pre_tokenization": {"kind": borders}}
    training = tokenizer_training({"vocabulary_size": 2048, **values})
    reached = TokenizerCompressor(training.train([text])).symbol_count
    assert f"a vocabulary of 2048 was asked for and {reached} reached" in shortfall(2048, reached)
    assert shortfall(2048, 2048) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"algorithm": "wordpiece"}, "there are: bpe, unigram"),
        ({"algorithm": "bpe", "vocabulary_size": 256}, "greater than or equal to 257"),
        ({"algorithm": "bpe", "pre_tokenization": {"kind": "word"}}, "default, line, superbpe"),
        ({"algorithm": "unigram", "pre_tokenization": {"kind": "superbpe"}}, "no 'superbpe'"),
        ({"algorithm": "bpe", "vocab": 300}, "unknown key 'training.vocab'"),
    ],
)
def test_wrong_options_are_named(values, message):
    with pytest.raises(UsageError, match=message):
        tokenizer_training(values)


def test_a_sample_is_bounded_and_smaller_where_the_library_is_slow():
    assert UnigramTraining(pre_tokenization=Lines()).sample_bytes < UnigramTraining().sample_bytes
    assert UnigramTraining().sample_bytes < BpeTraining().sample_bytes
