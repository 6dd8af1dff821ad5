"""The exported tokenizer: exact bytes for any text, the prefix in front, specials named."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from proxylm.compressors.tokenizer.specification import ALPHABET, CHARACTER_OF_BYTE
from proxylm.generation.request import prompt_symbols
from proxylm.interchange.byte_vocabulary import (
    byte_tokenizer,
    end_symbols,
    tokenizer_settings,
)
from proxylm.symbols import (
    BOS,
    BYTE_COUNT,
    COMPRESSED_OFFSET,
    EOS,
    RAW_CLOSE,
    RAW_OFFSET,
    RAW_OPEN,
    SPECIAL_COUNT,
    symbol_name,
)

TOKENIZER = Tokenizer.from_str(byte_tokenizer(sentinels=True).to_str())
PREFIX = [BOS, RAW_OPEN]
SPELLINGS = [symbol_name(symbol) for symbol in range(SPECIAL_COUNT)]


def without_spellings(text: str) -> bool:
    return not any(name in text for name in SPELLINGS)


@given(st.text().filter(without_spellings))
def test_any_text_is_its_bytes_and_back(text: str) -> None:
    ids = TOKENIZER.encode(text).ids
    assert ids == prompt_symbols(text.encode(), sentinels=True).tolist()
    assert TOKENIZER.decode(ids) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\n\t ",
        "\r\n",
        "\x00",
        "\ufeffx",
        "e\u0301 \u00e9",
        "<raw",
        "Ġa",
        "a\u0000b ",
        "\U0010ffff",
    ],
)
def test_white_space_marks_and_normal_forms_stay(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    assert ids == [RAW_OFFSET + byte for byte in text.encode()]
    assert TOKENIZER.decode(ids) == text


def test_long_text_is_exact() -> None:
    generator = random.Random(0)
    alphabet = "ab \n\u00e9\u4e16\U0001f600<>"
    text = "".join(generator.choice(alphabet) for _ in range(20_000))
    assert TOKENIZER.encode(text).ids == PREFIX + [RAW_OFFSET + byte for byte in text.encode()]


def test_spellings_of_specials_are_the_documented_exception() -> None:
    ids = TOKENIZER.encode("a<raw>b", add_special_tokens=False).ids
    assert ids == [RAW_OFFSET + 97, RAW_OPEN, RAW_OFFSET + 98]
    TOKENIZER.encode_special_tokens = True
    try:
        literal = TOKENIZER.encode("a<raw>b", add_special_tokens=False).ids
    finally:
        TOKENIZER.encode_special_tokens = False
    assert literal == [RAW_OFFSET + byte for byte in b"a<raw>b"]


def test_ids_and_names_are_the_symbol_layout() -> None:
    vocabulary = TOKENIZER.get_vocab()
    assert sorted(vocabulary.values()) == list(range(COMPRESSED_OFFSET))
    for symbol, name in enumerate(SPELLINGS):
        assert vocabulary[name] == symbol
    assert vocabulary.keys() == set(SPELLINGS) | ALPHABET.keys()
    for byte in range(BYTE_COUNT):
        assert vocabulary[CHARACTER_OF_BYTE[byte]] == RAW_OFFSET + byte


def test_models_without_sentinels_start_with_bos_alone() -> None:
    tokenizer = byte_tokenizer(sentinels=False)
    assert tokenizer.encode("a").ids == [BOS, RAW_OFFSET + 97]
    assert end_symbols(sentinels=False) == [EOS]
    assert end_symbols(sentinels=True) == [EOS, RAW_CLOSE]


def test_settings_name_special_tokens_of_the_vocabulary() -> None:
    settings = tokenizer_settings(context=512)
    assert settings["model_max_length"] == 512
    for key in ("bos_token", "eos_token", "pad_token", "unk_token"):
        assert settings[key] in TOKENIZER.get_vocab()
