"""How a document is read by models that are not ours: by their tokenizers, or by a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from proxylm.compressors.tokenizer.certain_places import byte_ends
from proxylm.errors import DataError, UsageError
from proxylm.inputs import as_integers
from proxylm.scoring.readings import Reading, ReadText, starts_of


def tokenizer_reading(tokenizer: Any) -> Reading:
    """The reading of a tokenizer: ``transformers``'s fast ones, or one of ``tiktoken``.

    Raises:
        UsageError: it is neither, or puts nothing before a text.
    """
    if hasattr(tokenizer, "decode_single_token_bytes"):
        return TiktokenReading(tokenizer)
    if getattr(tokenizer, "is_fast", False):
        return TokenizerReading(tokenizer)
    raise UsageError(
        f"read_as: {type(tokenizer).__name__} is neither bytes nor tokens, a compressor, a fast "
        "tokenizer of transformers, an encoding of tiktoken, nor a Reading"
    )


class TokenizerReading(Reading):
    """Documents as tokens of another program's tokenizer, after its own beginning of a text.

    Args:
        tokenizer: a fast one of ``transformers``, which tells where tokens lie in the text.

    Raises:
        UsageError: the tokenizer has no token that begins a text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.name = type(tokenizer).__name__
        self._tokenizer = tokenizer
        whole = tokenizer("a", return_special_tokens_mask=True)
        is_special = [*whole["special_tokens_mask"], 0]  # also where "a" is no token
        first = [tokenizer.bos_token_id, tokenizer.eos_token_id]
        added = whole["input_ids"][: is_special.index(0)]
        prefix = added or [one for one in first if one is not None][:1]
        if not prefix:
            raise UsageError(f"{self.name}: has no token that begins a text")
        self.prefix = np.array(prefix, dtype=np.int64)

    def read(self, document: bytes) -> ReadText:
        """See the base class.

        Raises:
            DataError: the document is not UTF-8, or the tokenizer does not know a part of it or
                leaves it out.
        """
        text = _decoded(document)
        tokens = self._tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
            verbose=False,
        )
        ids = np.array(tokens["input_ids"], dtype=np.int64)
        if (unknown := self._tokenizer.unk_token_id) is not None and unknown in ids:
            raise DataError("holds what the tokenizer does not know")
        starts, ends = np.array(tokens["offset_mapping"], dtype=np.int64).reshape(-1, 2).T
        before = np.concatenate([[0], ends])  # what the tokens before each, and all, have covered
        gaps = zip(before, [*starts, len(text)], strict=True)
        if any(text[first:last].strip() for first, last in gaps):
            raise DataError("holds what the tokenizer leaves out")
        # Some leave white space out of their offsets, and a character's parts all have the whole.
        offsets = np.concatenate([[0], byte_ends(text)])
        return ReadText(ids, offsets[np.minimum(starts, before[:-1])])


class TiktokenReading(Reading):
    """Documents as tokens of a ``tiktoken.Encoding``, after its end-of-text token."""

    def __init__(self, encoding: Any) -> None:
        self.name = encoding.name
        self._encoding = encoding
        self.prefix = np.array([encoding.eot_token], dtype=np.int64)

    def read(self, document: bytes) -> ReadText:
        """See the base class.

        Raises:
            DataError: the document is not UTF-8.
        """
        tokens = self._encoding.encode_ordinary(_decoded(document))
        lengths = [len(self._encoding.decode_single_token_bytes(token)) for token in tokens]
        return ReadText(np.array(tokens, dtype=np.int64), starts_of(np.array(lengths, np.int64)))


class OwnReading(Reading):
    """Documents as a function of one's own reads them.

    Args:
        encode: from a document to its ids ``[m]`` and their starts ``[m]`` (see ``ReadText``).
        prefix: ids before every document, at least one.

    Raises:
        UsageError: the prefix is none.
    """

    name = "own"

    def __init__(self, encode: Callable[[bytes], tuple[Any, Any]], *, prefix: Any) -> None:
        self._encode = encode
        try:
            self.prefix = as_integers(prefix, 1 << 31, kind="id").astype(np.int64)
        except ValueError as error:
            raise UsageError(f"prefix: {error}") from None
        if not self.prefix.size:
            raise UsageError("prefix: give at least one id, by which the first one is predicted")

    def read(self, document: bytes) -> ReadText:
        """See the base class.

        Raises:
            DataError: what the function gives is not that.
        """
        read = self._encode(document)
        try:
            ids, starts = read
            text = ReadText(
                as_integers(ids, 1 << 31, kind="id").astype(np.int64),
                as_integers(starts, max(1, len(document)), kind="start").astype(np.int64),
            )
        except (TypeError, ValueError) as error:
            raise DataError(f"is not read as ids and their starts: {error}") from None
        if len(text.ids) != len(text.starts) or (np.diff(text.starts) < 0).any():
            raise DataError("is read as ids whose starts are not as many, or fall")
        return text


def _decoded(document: bytes) -> str:
    try:
        return document.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8, which this tokenizer reads ({error.reason})") from None
