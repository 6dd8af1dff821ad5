"""Places in a text before which no token depends on what follows.

``cuts`` shows where a text can be cut, from the expression that cuts it into words: what stands
before such a place has the tokens that it has alone. Here the same is asked of every tokenizer,
not of those alone that are also run in pieces:

- *Normalizers* are passed over: where tokens spell exactly the text (others are refused), the
  normalizer has changed nothing.
- *Digits apart* (a first stage of some tokenizers) is cut by nothing but the characters on both
  sides, so that a place that is safe for the expression behind it is safe for both.
- *Without words*, as in sentencepiece's models: where no token has two characters side by side,
  a token always ends between them, and neither merges nor a best path see across.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.tokenizer.cuts import SafeCuts
from proxylm.compressors.tokenizer.libraries import (
    BYTE_LEVEL_PATTERN,
    NEIGHBOUR_FLAGS,
    SAME_IN_BOTH,
    NotProvedError,
)
from proxylm.compressors.tokenizer.specification import TokenizerSpecification, components
from proxylm.symbols import BYTE_COUNT

_END = r"(?![\s\S])"
"""What ``$`` is taken for: something that looks ahead."""


class Borders(Protocol):
    """Finds places of a text."""

    def cuts(self, text: str) -> NDArray[np.intp]:
        """``i`` for each place between characters ``i`` and ``i + 1``."""
        ...


class WordBorders:
    """Places that one of several expressions, each at work inside the pieces of the last, shows.

    Raises:
        NotProvedError: an expression is beyond the analysis.
    """

    def __init__(self, patterns: Sequence[str], kept: Iterable[str] = ()) -> None:
        tokens = list(kept)
        self._each = [SafeCuts(_understood(pattern), tokens) for pattern in patterns]

    def cuts(self, text: str) -> NDArray[np.intp]:
        """See ``Borders``."""
        return np.unique(np.concatenate([one.cuts(text) for one in self._each]))


class PairBorders:
    """Places between characters that no token has side by side.

    Args:
        token_bytes: of all tokens, added ones included.
    """

    def __init__(self, token_bytes: Iterable[bytes]) -> None:
        self._is_inside = np.zeros((BYTE_COUNT, BYTE_COUNT), dtype=np.bool_)
        for token in token_bytes:
            found = np.frombuffer(token, dtype=np.uint8)
            self._is_inside[found[:-1], found[1:]] = True

    def cuts(self, text: str) -> NDArray[np.intp]:
        """See ``Borders``; by the last byte of the one character and the first of the other."""
        characters = [character.encode() for character in text]
        last = np.array([one[-1] for one in characters], dtype=np.uint8)
        first = np.array([one[0] for one in characters], dtype=np.uint8)
        return np.flatnonzero(~self._is_inside[last[:-1], first[1:]])


def borders_of(
    specification: TokenizerSpecification, token_bytes: Sequence[bytes]
) -> Borders | None:
    """The places of a ``tokenizer.json``; None where none can be shown.

    Args:
        specification: the file.
        token_bytes: of all its tokens.
    """
    added = specification.added_tokens
    if any(token[flag] for token in added for flag in NEIGHBOUR_FLAGS if not token["special"]):
        return None
    try:
        patterns = _patterns(specification)
        if patterns:
            return WordBorders(patterns, [token["content"] for token in added])
    except NotProvedError:
        return None
    model = specification.model
    affixes = ("continuing_subword_prefix", "end_of_word_suffix")
    if model.get("type") not in ("BPE", "Unigram") or any(model.get(one) for one in affixes):
        return None
    return PairBorders(token_bytes)


def word_borders(pattern: str) -> Borders | None:
    """The places of an expression; None where none can be shown."""
    try:
        return WordBorders([pattern])
    except NotProvedError:
        return None


def _patterns(specification: TokenizerSpecification) -> list[str]:
    """The expressions whose places count: up to the first that is more than a class."""
    found: list[str] = []
    for part in components(specification.data.get("pre_tokenizer")):
        match part["type"]:
            case "Digits":
                found.append(r"\p{N}" if part.get("individual_digits") else r"\p{N}+")
            case "Split":
                return [*found, _split_pattern(part)]
            case "ByteLevel" if part.get("use_regex", True):
                return [*found, BYTE_LEVEL_PATTERN]
            case "ByteLevel" | "Sequence":
                continue
            case "Metaspace" if not found:
                continue  # cuts before its sign, whatever follows
            case _:
                raise NotProvedError(f"its pre-tokenizer has {part['type']}")
    return found


def _split_pattern(split: dict[str, Any]) -> str:
    given = split.get("pattern", {})
    if split.get("behavior") != "Isolated" or split.get("invert"):
        raise NotProvedError("its pre-tokenizer is not a plain split by a pattern")
    # Not re.escape, whose escaped white space is beyond the analysis.
    pattern = given.get("Regex") or re.sub(r"([^\w\s])", r"\\\1", given.get("String", ""))
    if not pattern:
        raise NotProvedError("its pre-tokenizer splits by nothing")
    return pattern


def _understood(pattern: str) -> str:
    """The pattern in what the analysis reads; where it says less, more can match.

    Raises:
        NotProvedError: it has something else.
    """
    if re.search(r"\[[^\]]*\$|\\\$", pattern):
        raise NotProvedError("its pattern has $ for a sign")
    # A repetition that gives nothing back matches some of what the plain one does.
    plain = pattern.replace("$", _END).replace("}+", "}")
    if not SAME_IN_BOTH.fullmatch(plain):
        raise NotProvedError("its pattern is beyond this analysis")
    return plain
