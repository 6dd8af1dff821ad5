"""SuperBPE: a second stage of merges that may cross white space (method, section 3).

The library cannot go on from given merges. But after the first stage a line is a sequence of
first-stage tokens, and learning more merges over it is plain BPE with those tokens as the
alphabet. So each token becomes one character, lines of characters are trained on, and the merges
found are written back in bytes behind those of the first stage.

The lines are encoded with the first stage's merges *and no word borders*, as the finished
tokenizer will: the second stage then starts from just the state that its merges will meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import BPE

from proxylm.compressors.tokenizer.byte_level import (
    LINE_PATTERN,
    WORD_PATTERN,
    bpe_tokenizer,
    learned_merges,
    model_values,
    train_merges,
)
from proxylm.compressors.tokenizer.libraries import choose_library
from proxylm.compressors.tokenizer.specification import CHARACTER_OF_BYTE, TokenizerSpecification
from proxylm.symbols import BYTE_COUNT

FIRST_CHARACTER = 0x10000
"""Token ``t`` is written as this code point plus ``t``: above everything the library treats."""


def train_in_two_stages(texts: Iterable[str], vocabulary_size: int, first_stage: float) -> bytes:
    """Train both stages; returns the ``tokenizer.json``.

    Args:
        texts: read twice, so they are held in memory.
        vocabulary_size: tokens in all.
        first_stage: share of them that stays inside words.
    """
    held = list(texts)
    first_size = max(BYTE_COUNT + 1, round(vocabulary_size * first_stage))
    merges = train_merges(held, WORD_PATTERN, first_size)
    first = bpe_tokenizer(merges, LINE_PATTERN)
    merges += _merges_across_words(first, held, vocabulary_size - BYTE_COUNT - len(merges))
    return bpe_tokenizer(merges, LINE_PATTERN).to_str().encode()


def _merges_across_words(first: Tokenizer, texts: list[str], count: int) -> list[list[str]]:
    """``count`` further merges over lines of first-stage tokens, spelled in bytes."""
    vocabulary = model_values(first)["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    lines = list(_lines_of_characters(first, tokens, texts))
    used = set().union(*lines) if lines else set()
    merges = learned_merges(Tokenizer(BPE()), lines, len(used) + count, sorted(used))
    return [[_spell(left, tokens), _spell(right, tokens)] for left, right in merges]


def _spell(characters: str, tokens: list[str]) -> str:
    return "".join(tokens[ord(character) - FIRST_CHARACTER] for character in characters)


def _lines_of_characters(first: Tokenizer, tokens: list[str], texts: list[str]) -> Iterator[str]:
    """Each line of the texts, one character per first-stage token."""
    specification = TokenizerSpecification.parse(first.to_str().encode(), "first stage")
    library = choose_library(specification).library
    # Tokens that end in a line end; inside a line no token holds one.
    marks = CHARACTER_OF_BYTE[ord("\r")], CHARACTER_OF_BYTE[ord("\n")]
    ends = np.array([token.endswith(marks) for token in tokens])
    for text in texts:
        (ids,) = library.encode([text])
        # A piece ends where a token with a line end is followed by one without.
        has_end = ends[ids]
        borders = np.flatnonzero(has_end[:-1] & ~has_end[1:]) + 1
        for line in np.split(ids, borders):
            if len(line):
                yield "".join(chr(FIRST_CHARACTER + token) for token in line.tolist())
