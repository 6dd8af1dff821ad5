"""Training tokenizers on a corpus: BPE and Unigram, over words, lines, or both in two stages.

All are byte-level: 256 byte tokens first, no normalization, so every document has an exact form.
What may become one token is set by the pre-tokenization (method, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import Field
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import UnigramTrainer

from proxylm.compressors.tokenizer.byte_level import (
    LINE_PATTERN,
    WORD_PATTERN,
    bpe_tokenizer,
    byte_level,
    train_merges,
)
from proxylm.compressors.tokenizer.superbpe import train_in_two_stages
from proxylm.config import Config, validate_config
from proxylm.errors import DataError
from proxylm.symbols import BYTE_COUNT

MEBIBYTE = 1 << 20

VocabularySize = Annotated[int, Field(ge=BYTE_COUNT + 1, le=1 << 20)]


class Words(Config):
    """Tokens stay inside words (the usual pre-tokenization)."""

    kind: Literal["default"] = "default"

    @property
    def pattern(self) -> str:
        """Cuts the text into words."""
        return WORD_PATTERN


class Lines(Config):
    """Tokens may span words inside a line."""

    kind: Literal["line"] = "line"

    @property
    def pattern(self) -> str:
        """Cuts the text into lines."""
        return LINE_PATTERN


class SuperWords(Config):
    """SuperBPE: merges inside words first, then further merges across white space.

    Attributes:
        first_stage: share of the vocabulary that the first stage fills.
    """

    kind: Literal["superbpe"] = "superbpe"
    first_stage: float = Field(default=0.75, gt=0, lt=1)


class BpeTraining(Config):
    """Byte pair encoding with ``vocabulary_size`` tokens, 256 byte tokens included.

    The same texts give the same file.
    """

    algorithm: Literal["bpe"] = "bpe"
    vocabulary_size: VocabularySize = 4096
    pre_tokenization: Annotated[Words | Lines | SuperWords, Field(discriminator="kind")] = Words()

    @property
    def sample_bytes(self) -> int:
        """How much text is worth training on: the library holds its words in memory."""
        return 256 * MEBIBYTE

    def train(self, texts: Iterable[str]) -> bytes:
        """Learn the merges; returns the ``tokenizer.json``."""
        if isinstance(self.pre_tokenization, SuperWords):
            first_stage = self.pre_tokenization.first_stage
            return train_in_two_stages(texts, self.vocabulary_size, first_stage)
        merges = train_merges(texts, self.pre_tokenization.pattern, self.vocabulary_size)
        return bpe_tokenizer(merges, self.pre_tokenization.pattern).to_str().encode()


class UnigramTraining(Config):
    """A unigram language model over pieces; 256 byte pieces are always among them.

    The library adds its sums in no fixed order, so training twice gives slightly different
    files; what a saved file computes is fixed as ever.
    """

    algorithm: Literal["unigram"] = "unigram"
    vocabulary_size: VocabularySize = 4096
    pre_tokenization: Annotated[Words | Lines, Field(discriminator="kind")] = Words()

    @property
    def sample_bytes(self) -> int:
        """How much text is worth training on: over lines the library takes a minute per MB."""
        return MEBIBYTE if isinstance(self.pre_tokenization, Lines) else 64 * MEBIBYTE

    def train(self, texts: Iterable[str]) -> bytes:
        """Learn pieces and their probabilities; returns the ``tokenizer.json``."""
        tokenizer = byte_level(Tokenizer(Unigram()), self.pre_tokenization.pattern)
        trainer = UnigramTrainer(
            vocab_size=self.vocabulary_size,
            initial_alphabet=ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer.to_str().encode()


TokenizerTraining = Annotated[BpeTraining | UnigramTraining, Field(discriminator="algorithm")]


class _Training(Config):
    """Lets one field choose between the algorithms."""

    training: TokenizerTraining


def tokenizer_training(values: dict[str, Any]) -> BpeTraining | UnigramTraining:
    """Validate plain values (``algorithm``, ``vocabulary_size``, ``pre_tokenization``).

    Raises:
        UsageError: one of them is wrong; the message names it.
    """
    return validate_config(_Training, {"training": values}, origin="tokenizer").training


def texts_of(documents: Iterable[bytes]) -> Iterator[str]:
    """Training text of documents; bytes that are not UTF-8 teach nothing and are left out.

    Raises:
        DataError: there is no document at all.
    """
    found = False
    for raw in documents:
        found = True
        yield raw.decode(errors="ignore")
    if not found:
        raise DataError("the training part of the corpus has no documents; give a larger corpus")
