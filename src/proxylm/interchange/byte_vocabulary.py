"""The byte vocabulary as a ``tokenizer.json`` that transformers, vLLM and others read as it is.

A byte-level BPE without merges: every byte of the UTF-8 text is one token, its id the raw byte's
(``proxylm.symbols``). Any text is encoded and decoded exactly, the literal spellings of the special
tokens apart, which are read as those tokens unless the caller asks for ``split_special_tokens``.
``<bos> <raw>`` is put in front by the tokenizer's post-processor.
"""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from proxylm.compressors.tokenizer.specification import ALPHABET
from proxylm.models.config import ModelConfig
from proxylm.symbols import (
    BOS,
    COMPRESSED_OFFSET,
    EOS,
    PAD,
    RAW_CLOSE,
    RAW_OFFSET,
    RAW_OPEN,
    SPECIAL_COUNT,
    UNK,
    symbol_name,
)


def byte_tokenizer(*, sentinels: bool) -> Tokenizer:
    """The tokenizer of raw text: one id per byte, the model's prefix in front."""
    specials = {symbol_name(symbol): symbol for symbol in range(SPECIAL_COUNT)}
    letters = {letter: RAW_OFFSET + byte for letter, byte in ALPHABET.items()}
    tokenizer = Tokenizer(models.BPE(vocab=specials | letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in specials]
    )
    prefix = [symbol_name(symbol) for symbol in ([BOS, RAW_OPEN] if sentinels else [BOS])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join([*prefix, "$A"]),
        pair=" ".join([*prefix, "$A", "$B"]),
        special_tokens=[(name, specials[name]) for name in prefix],
    )
    return tokenizer


def tokenizer_settings(*, context: int) -> dict[str, Any]:
    """What ``tokenizer_config.json`` says: which class reads the tokenizer, and special tokens."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": symbol_name(BOS),
        "eos_token": symbol_name(EOS),
        "pad_token": symbol_name(PAD),
        "unk_token": symbol_name(UNK),
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",
    }


def end_symbols(*, sentinels: bool) -> list[int]:
    """The symbols that end raw text: what ``generate`` stops at."""
    return [EOS, RAW_CLOSE] if sentinels else [EOS]


def suppressed_symbols(config: ModelConfig) -> list[int]:
    """The symbols that raw text does not hold, by which logits as they were trained allow them."""
    ends = end_symbols(sentinels=config.sentinels)
    specials = [symbol for symbol in range(RAW_OFFSET) if symbol not in ends]
    return [*specials, *range(COMPRESSED_OFFSET, config.vocabulary_size)]
