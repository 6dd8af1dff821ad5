"""sentencepiece's ``tokenizer.model`` files, BPE or Unigram: a piece's id is a symbol.

The library normalizes a text before it looks for pieces: it may fold characters (NFKC), put a space
before the text, and drop spaces that repeat. Each piece stands for the text it is written as, with
the space for ``▁``, or for one byte; what text never becomes (control, unknown and unused pieces)
stands for nothing. So a document comes back exactly or is refused, and a model that normalizes
nothing and falls back to bytes takes every document.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from proxylm.compressors.tokenizer.specification import BYTE_TOKEN, SPACE_STAND_IN
from proxylm.compressors.tokenizer.vocabulary import Vocabulary
from proxylm.errors import DamagedFileError, UsageError, needing_extra, one_line
from proxylm.pool import threads_each

_FOLDED = "ﬁ\t①"
"""What normal forms and sentencepiece's own rules change."""


class SentencePieceLibrary:
    """A sentencepiece model, and the pattern that cuts texts before it, if there is one.

    Attributes:
        vocabulary: the pieces by id.
        losses: what of a text the model does not keep, for messages.
        has_unused: whether it has pieces that no text is given.

    Raises:
        DamagedFileError: the file is not a model.
        UsageError: sentencepiece is not installed, the model puts a space behind every text, or
            the pattern is no regular expression.
    """

    name = "sentencepiece"

    def __init__(self, file: bytes, origin: str, pattern: str | None) -> None:
        with needing_extra(f"{origin}: a sentencepiece model", "sentencepiece"):
            from sentencepiece import SentencePieceProcessor
        try:
            self._model = SentencePieceProcessor(model_proto=file)
        except Exception as error:  # the library raises nothing more specific
            message = f"{origin}: not a sentencepiece model ({one_line(error)})"
            raise DamagedFileError(message) from None
        if self._model.normalize("x").endswith(SPACE_STAND_IN):
            raise UsageError(
                f"{origin}: puts a space behind every text (treat_whitespace_as_suffix), which is "
                "no byte of a document; train the model without it"
            )
        self._words = _splitter(pattern, origin)
        self._threads = threads_each(workers=1)
        self.vocabulary = Vocabulary(self._token_bytes(), {}, 0)
        self.losses = ", ".join(self._found_losses())
        self.has_unused = any(self._model.is_unused(list(range(self._model.get_piece_size()))))

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.uint32]]:
        """Ids of each text, uint32 ``[t]``; the library spreads them over its own threads."""
        if self._words is not None:
            return [self._encode_words(self._words, text) for text in texts]
        found = self._model.encode(list(texts), out_type="numpy", num_threads=self._threads)
        return [ids.astype(np.uint32) for ids in found]

    def _encode_words(self, splitter: Split, text: str) -> NDArray[np.uint32]:
        words = [word for word, _ in splitter.pre_tokenize_str(text)]
        # Most words occur often: each is encoded once.
        different = list(dict.fromkeys(words))
        found = self._model.encode(different, out_type=int, num_threads=self._threads)
        ids_of = dict(zip(different, found, strict=True))
        return np.fromiter(chain.from_iterable(map(ids_of.__getitem__, words)), np.uint32)

    def _token_bytes(self) -> list[bytes]:
        model, ids = self._model, list(range(self._model.get_piece_size()))
        kinds = zip(
            model.id_to_piece(ids),
            model.is_byte(ids),
            model.is_control(ids),
            model.is_unknown(ids),
            model.is_unused(ids),
            strict=True,
        )
        space = " " if SPACE_STAND_IN in model.normalize("x y") else SPACE_STAND_IN
        return [
            _spelled(piece, space, is_byte=is_byte) if not any(never) else b""
            for piece, is_byte, *never in kinds
        ]

    def _found_losses(self) -> list[str]:
        """What the model changes in texts, seen in texts that have it."""
        normalize, losses = self._model.normalize, []
        if SPACE_STAND_IN in normalize("x y"):
            losses.append(f"it takes {SPACE_STAND_IN} for a space")
        if normalize("x") != "x":
            losses.append("it puts a space before text after bytes that are not UTF-8")
        if not normalize(_FOLDED).endswith(_FOLDED):
            losses.append("it normalizes characters")
        if normalize("a  b") == normalize("a b"):
            losses.append("it drops spaces that repeat")
        if not any(self._model.is_byte(list(range(self._model.get_piece_size())))):
            losses.append("it has no bytes for characters that it does not know")
        return losses


def _spelled(piece: str, space: str, *, is_byte: bool) -> bytes:
    byte = BYTE_TOKEN.fullmatch(piece) if is_byte else None
    return bytes([int(byte[1], 16)]) if byte else piece.replace(SPACE_STAND_IN, space).encode()


def _splitter(pattern: str | None, origin: str) -> Split | None:
    if pattern is None:
        return None
    try:
        return Split(Regex(pattern), "isolated")
    except Exception as error:  # the library raises nothing more specific
        raise UsageError(f"{origin}: pattern: tokenizers refuses it ({one_line(error)})") from None
