"""Byte-level tokenizers of the library's: their borders, their merges, what all kinds share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer, Split
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.trainers import BpeTrainer

from proxylm.compressors.tokenizer.specification import CHARACTER_OF_BYTE
from proxylm.symbols import BYTE_COUNT

WORD_PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|[^\S\r\n]*[\r\n]+|\s+(?!\S)|\s+"
)
"""Words with the sign or space before them, up to three digits, runs of signs, line ends.

No word reaches beyond the end of a line, so words divide the lines of ``LINE_PATTERN``.
"""

LINE_PATTERN = r"[^\r\n]+[\r\n]*|[\r\n]+"
"""A line with the line ends after it."""


def train_merges(texts: Iterable[str], pattern: str, vocabulary_size: int) -> list[list[str]]:
    """Learn byte-level merges inside the pieces that ``pattern`` cuts."""
    tokenizer = byte_level(Tokenizer(BPE()), pattern)
    return learned_merges(tokenizer, texts, vocabulary_size, ByteLevel.alphabet())


def learned_merges(
    tokenizer: Tokenizer, texts: Iterable[str], vocabulary_size: int, alphabet: list[str]
) -> list[list[str]]:
    """Train a BPE tokenizer of the library's; returns its merges in order."""
    trainer = BpeTrainer(vocab_size=vocabulary_size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return model_values(tokenizer)["merges"]


def model_values(tokenizer: Tokenizer) -> dict[str, Any]:
    """The model of a library tokenizer as plain values."""
    return json.loads(tokenizer.to_str())["model"]


def bpe_tokenizer(merges: list[list[str]], pattern: str) -> Tokenizer:
    """A byte-level BPE tokenizer: ids 0–255 are the bytes, then one id per merge, in order."""
    tokens = [CHARACTER_OF_BYTE[byte] for byte in range(BYTE_COUNT)]
    tokens += [left + right for left, right in merges]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    assert len(vocabulary) == len(tokens), "two merges make the same token"
    model = BPE(vocab=vocabulary, merges=[(left, right) for left, right in merges])
    return byte_level(Tokenizer(model), pattern)


def byte_level(tokenizer: Tokenizer, pattern: str) -> Tokenizer:
    """Give a tokenizer these borders, and bytes as its alphabet."""
    cuts: list[PreTokenizer] = [
        Split(Regex(pattern), "isolated"),
        ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    tokenizer.pre_tokenizer = PreTokenizers(cuts)
    tokenizer.decoder = ByteLevelDecoder()
    return tokenizer
