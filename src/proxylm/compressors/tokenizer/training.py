"""Training tokenizers on a corpus: BPE and Unigram, over words, lines, or both in two stages.

All are byte-level: 256 byte tokens first, no normalization, so every document has an exact form.
What may become one token is set by the pre-tokenization (method, section 3).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, ClassVar, Literal

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
    model_values,
    train_merges,
)
from proxylm.compressors.tokenizer.compressor import TokenizerCompressor
from proxylm.compressors.tokenizer.superbpe import train_in_two_stages
from proxylm.config import Config, validate_config
from proxylm.corpus.contract import Corpus
from proxylm.corpus.document import Document
from proxylm.corpus.left_out import LeftOut
from proxylm.corpus.opening import Documents, as_corpus
from proxylm.corpus.records import is_utf8
from proxylm.corpus.split import HELD_OUT_FRACTION, training_sample
from proxylm.errors import DataError
from proxylm.progress import TellCount, untold
from proxylm.symbols import BYTE_COUNT

MEBIBYTE = 1 << 20

CHOOSING = "choosing tokens"
"""What the library does with the texts, and does not say how far it is."""

VocabularySize = Annotated[int, Field(ge=BYTE_COUNT + 1, le=1 << 20)]


class Words(Config):
    """Tokens stay inside words (the usual pre-tokenization)."""

    kind: Literal["default"] = "default"
    pattern: ClassVar[str] = WORD_PATTERN


class Lines(Config):
    """Tokens may span words inside a line."""

    kind: Literal["line"] = "line"
    pattern: ClassVar[str] = LINE_PATTERN


class SuperWords(Config):
    """SuperBPE: merges inside words first, then further merges across white space.

    Attributes:
        first_stage: share of the vocabulary that the first stage fills.
    """

    kind: Literal["superbpe"] = "superbpe"
    first_stage: float = Field(default=0.75, gt=0, lt=1)


class BpeTraining(Config):
    """Byte pair encoding; the same texts give the same file.

    Attributes:
        algorithm: how tokens are chosen.
        vocabulary_size: number of tokens, 256 byte tokens included.
        pre_tokenization: what may become one token: default (inside words), line, or superbpe
            (bpe only).
    """

    algorithm: Literal["bpe"] = "bpe"
    vocabulary_size: VocabularySize = 4096
    pre_tokenization: Annotated[Words | Lines | SuperWords, Field(discriminator="kind")] = Words()

    sample_bytes: ClassVar[int] = 256 * MEBIBYTE
    """How much text is worth training on: the library holds its words in memory."""

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
        """Learn pieces and their probabilities; returns the ``tokenizer.json``.

        Raises:
            DataError: there is no text to learn from.
        """
        tokenizer = byte_level(Tokenizer(Unigram()), self.pre_tokenization.pattern)
        trainer = UnigramTrainer(
            vocab_size=self.vocabulary_size,
            initial_alphabet=ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        if any(score is None for _, score in model_values(tokenizer)["vocab"]):
            # Without a single piece the library divides by none.
            raise DataError("unigram: the training text has no characters; give it text in UTF-8")
        return tokenizer.to_str().encode()


TokenizerTraining = Annotated[BpeTraining | UnigramTraining, Field(discriminator="algorithm")]


class TokenizerSettings(Config):
    """Lets one field choose between the algorithms.

    Attributes:
        training: one of them and its own fields.
    """

    training: TokenizerTraining


def tokenizer_training(values: dict[str, Any]) -> BpeTraining | UnigramTraining:
    """Validate plain values (``algorithm``, ``vocabulary_size``, ``pre_tokenization``).

    Raises:
        UsageError: one of them is wrong; the message names it.
    """
    return validate_config(TokenizerSettings, {"training": values}, origin="tokenizer").training


def train_tokenizer(
    documents: Documents,
    *,
    vocabulary_size: int = 4096,
    algorithm: str = "bpe",
    pre_tokenization: str = "default",
    held_out_fraction: float = HELD_OUT_FRACTION,
    sample_bytes: int | None = None,
) -> TokenizerCompressor:
    """Train a byte-level tokenizer on the training part of any documents.

    What there is to say (documents left out, a vocabulary that the text cannot fill) is a warning.

    >>> tokenizer = train_tokenizer([b"to be or not to be"] * 9, vocabulary_size=260)
    >>> tokenizer.decompress(tokenizer.compress([b"not to be"]))
    [b'not to be']

    Args:
        documents: bytes, pairs of id and bytes, a path, or an open corpus.
        vocabulary_size: tokens in all, 256 of them single bytes.
        algorithm: ``bpe`` or ``unigram``.
        pre_tokenization: what tokens may span: ``default`` (words), ``line``, or ``superbpe``
            (bpe only).
        held_out_fraction: share of documents that it does not see, chosen by hash as ``prepare``
            does.
        sample_bytes: train on about so many bytes of them; default what the algorithm can use.

    Raises:
        UsageError: a setting is wrong, or the documents are not of bytes.
        DataError: there is no document to learn from.
    """
    training = tokenizer_training(
        {
            "algorithm": algorithm,
            "vocabulary_size": vocabulary_size,
            "pre_tokenization": {"kind": pre_tokenization},
        }
    )
    left_out = LeftOut()
    trained = train_on_corpus(
        training,
        as_corpus(documents),
        held_out_fraction=held_out_fraction,
        sample_bytes=sample_bytes,
        left_out=left_out,
        say=warnings.warn,
    )
    if left_out:
        warnings.warn(f"documents left out: {left_out}", stacklevel=2)
    return trained


def train_on_corpus(
    training: BpeTraining | UnigramTraining,
    corpus: Corpus,
    *,
    held_out_fraction: float,
    sample_bytes: int | None,
    left_out: LeftOut,
    say: Callable[[str], None],
    progress: TellCount = untold,
) -> TokenizerCompressor:
    """As ``train_tokenizer``; fills ``left_out``, and ``say`` hears what else there is to say.

    ``progress`` hears how many bytes of the corpus are read; of what the library does with them
    afterwards, only that it is at work.
    """
    documents = training_sample(
        corpus,
        wanted_bytes=training.sample_bytes if sample_bytes is None else sample_bytes,
        fraction=held_out_fraction,
        left_out=left_out,
        progress=progress,
    )
    texts = _then_told(texts_of(documents, say), progress)
    trained = TokenizerCompressor(training.train(texts))
    progress(CHOOSING, 0, 0)
    if told := shortfall(training.vocabulary_size, trained.symbol_count):
        say(told)
    return trained


def _then_told(texts: Iterable[str], progress: TellCount) -> Iterator[str]:
    yield from texts
    progress(CHOOSING, 0, None)


def texts_of(
    documents: Iterable[Document], say: Callable[[str], None] = lambda _: None
) -> Iterator[str]:
    """Training text of documents; bytes that are not UTF-8 teach nothing and are left out.

    Args:
        documents: read once.
        say: hears at the end of how many documents bytes were left out.
    """
    cut, first_cut = 0, ""
    for document in documents:
        text = document.raw.decode(errors="ignore")
        if not is_utf8(document.raw):
            cut, first_cut = cut + 1, first_cut or document.id
        yield text
    if cut:
        say(
            f"documents with bytes that are not UTF-8: {cut} (first: {first_cut}); the tokenizer "
            "learns nothing from those bytes"
        )


def shortfall(asked: int, reached: int) -> str | None:
    """What to tell about a vocabulary of another size than was asked for; None if it has it."""
    if reached == asked:
        return None
    return (
        f"a vocabulary of {asked} was asked for and {reached} reached: the training text has no "
        "more tokens to offer; give it more text, or ask for fewer"
    )
