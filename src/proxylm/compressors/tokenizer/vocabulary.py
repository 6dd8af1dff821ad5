"""Which token each id is: what the file says, and what the loaded tokenizer makes of it.

The library does not take an added token's ``id`` from the file. One that the model has keeps the
model's id; the others are numbered behind the model's in the file's order. All symbols are the
loaded tokenizer's ids, whichever library finds them, and so are the bytes that they stand for.
A file that can be read in two ways (one id for two tokens, two ids for one) is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from proxylm.compressors.tokenizer.specification import TokenizerSpecification
from proxylm.errors import DamagedFileError

LARGEST_ID = (1 << 24) - 1
"""A table with a row per id has to fit into memory; no published vocabulary comes near."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of a loaded tokenizer.

    Attributes:
        token_bytes: the bytes of every id in ``[0, K)``; empty for an id that no token has.
        added: content -> id of the added tokens, as loaded.
        renumbered: how many of them the file numbers otherwise.
    """

    token_bytes: list[bytes]
    added: dict[str, int]
    renumbered: int

    @classmethod
    def of(cls, specification: TokenizerSpecification, tokenizer: Tokenizer) -> Vocabulary:
        """Compare a file with what the library loaded from it.

        Raises:
            DamagedFileError: an added token is empty, an id is too large, or ids and tokens of
                the file do not fit each other; names the file, the token and the id.
        """
        model = specification.model_vocabulary()
        _check_file(specification, model, tokenizer)
        added = {
            token.content: index for index, token in tokenizer.get_added_tokens_decoder().items()
        }
        _check_loaded(specification.origin, model, added, tokenizer)
        said = {token["content"]: token["id"] for token in specification.added_tokens}
        bytes_of = {index: specification.spelled(token) for token, index in model.items()}
        bytes_of |= {
            added[token["content"]]: token["content"].encode()
            for token in specification.added_tokens
            # A special token is never matched in a text: if the model has it, it is the model's.
            if not (token["special"] and token["content"] in model)
        }
        size = max((*bytes_of, *said.values()), default=-1) + 1
        return cls(
            token_bytes=[bytes_of.get(index, b"") for index in range(size)],
            added=added,
            renumbered=sum(said[content] != index for content, index in added.items()),
        )


def _check_file(
    specification: TokenizerSpecification, model: dict[str, int], tokenizer: Tokenizer
) -> None:
    """Raise if the file's own ids and tokens do not fit each other, or a token is empty."""
    origin = specification.origin
    token_of: dict[int, str] = {}
    id_of = dict(model)
    added = [(token["content"], token["id"]) for token in specification.added_tokens]
    for content, index in (*model.items(), *added):
        if index > LARGEST_ID:
            raise DamagedFileError(
                f"{origin}: token {content!r} has id {index}, ids go up to {LARGEST_ID}; "
                "number the tokens without gaps"
            )
        if token_of.setdefault(index, content) != content:
            raise DamagedFileError(
                f"{origin}: id {index} is of {token_of[index]!r} and of {content!r}; "
                "give each token an id of its own"
            )
        if id_of.setdefault(content, index) != index:
            raise DamagedFileError(
                f"{origin}: token {content!r} has the ids {id_of[content]} and {index}; keep one"
            )
    for token in specification.added_tokens:
        if not _matched_text(token, tokenizer):
            raise DamagedFileError(
                f"{origin}: added token {token['id']} ({token['content']!r}) is empty, or "
                "nothing is left of it after the normalizer; remove it"
            )


def _matched_text(token: dict[str, Any], tokenizer: Tokenizer) -> str:
    """What the library searches a text for; the empty text is found everywhere, without end."""
    if token["normalized"] and token["content"] and tokenizer.normalizer is not None:
        return tokenizer.normalizer.normalize_str(token["content"])
    return token["content"]


def _check_loaded(
    origin: str, model: dict[str, int], added: dict[str, int], tokenizer: Tokenizer
) -> None:
    """Raise if the library loaded another vocabulary, or gave one id to two tokens."""
    loaded = tokenizer.get_vocab(with_added_tokens=False)
    if loaded != model:
        different = min(loaded.items() ^ model.items())[0]
        raise DamagedFileError(
            f"{origin}: the library reads token {different!r} otherwise than the file says "
            f"(id {loaded.get(different)} against {model.get(different)})"
        )
    token_of = {index: token for token, index in model.items()}
    for content, index in added.items():
        if token_of.get(index, content) != content:
            raise DamagedFileError(
                f"{origin}: the library gives added token {content!r} the id {index}, which "
                f"{token_of[index]!r} has; number the model's tokens without gaps"
            )
