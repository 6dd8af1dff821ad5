"""The forms of tokenizer files, told apart by what they hold, since their names do not say it.

``tokenizer.model`` is a sentencepiece model in most repositories, and tiktoken's ranks in some.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxylm.compressors.contract import MEMORY_PER_BYTE
from proxylm.compressors.tokenizer.borders import (
    Borders,
    PairBorders,
    borders_of,
    word_borders,
)
from proxylm.compressors.tokenizer.cuts import SafeCuts, safe_cuts
from proxylm.compressors.tokenizer.libraries import (
    LIBRARY_MEMORY_PER_BYTE,
    HuggingFaceLibrary,
    LibraryChoice,
    choose_library,
)
from proxylm.compressors.tokenizer.patterns import MODEL_PATTERNS, RANK_PATTERNS, expression
from proxylm.compressors.tokenizer.ranks import RankLibrary
from proxylm.compressors.tokenizer.sentencepiece_model import SentencePieceLibrary
from proxylm.compressors.tokenizer.specification import TokenizerSpecification
from proxylm.errors import UsageError

TOKENIZER_FILE = "tokenizer.json"
MODEL_FILE = "tokenizer.model"
RANK_FILE = "tokenizer.tiktoken"
MODEL_MEMORY_PER_BYTE = 100
"""What sentencepiece takes for each byte of one text: 60 (BPE) to 76 (Unigram, spaces)."""
TOKENIZER_FILES = (TOKENIZER_FILE, MODEL_FILE, RANK_FILE)
"""What a tokenizer's folder holds one of; the first one that is there is read."""

_RANK_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} [0-9]+\r?(?:\n|\Z)")
_PIECES_FIELD = b"\n"
"""How a sentencepiece model begins: the first field of its protocol buffer."""


@dataclass(frozen=True, slots=True)
class OpenedTokenizer:
    """A tokenizer file, ready to encode.

    Attributes:
        file_name: the name to save it under.
        choice: the library that runs, and its tokens.
        memory_per_byte: what encoding takes for each byte of a document.
        pattern: the expression that cuts texts into words, where the file does not say it.
        cuts: places where a long text can be cut; None where none can be shown to be safe.
        borders: places before which no token depends on what follows; None likewise.
    """

    file_name: str
    choice: LibraryChoice
    memory_per_byte: int
    pattern: str | None = None
    cuts: SafeCuts | None = None
    borders: Borders | None = None


def says_its_pattern(file: bytes) -> bool:
    """Whether a file of this form says itself how it cuts texts: a ``tokenizer.json`` does."""
    return not _RANK_LINE.match(file) and not _is_sentencepiece(file)


def _is_sentencepiece(file: bytes) -> bool:
    return file.startswith(_PIECES_FIELD) and not file.lstrip().startswith(b"{")


def open_tokenizer(file: bytes, origin: str, pattern: str | None) -> OpenedTokenizer:
    """Read a tokenizer file of any form.

    Args:
        file: its bytes.
        origin: where they come from, for messages.
        pattern: what cuts texts into words, by name or written out.

    Raises:
        DamagedFileError: the file is not a tokenizer.
        UsageError: a pattern is missing, wrong, or not to be given.
    """
    if _RANK_LINE.match(file):
        return _open_ranks(file, origin, pattern)
    if _is_sentencepiece(file):
        return _open_model(file, origin, pattern)
    if pattern is not None:
        raise UsageError(f"{origin}: says itself how it cuts texts; leave out the pattern")
    specification = TokenizerSpecification.parse(file, origin)
    choice, cuts = choose_library(specification), safe_cuts(specification)
    needs_much = cuts is None or isinstance(choice.library, HuggingFaceLibrary)
    return OpenedTokenizer(
        file_name=TOKENIZER_FILE,
        choice=choice,
        cuts=cuts,
        borders=borders_of(specification, choice.vocabulary.token_bytes),
        memory_per_byte=LIBRARY_MEMORY_PER_BYTE if needs_much else MEMORY_PER_BYTE,
    )


def _open_ranks(file: bytes, origin: str, pattern: str | None) -> OpenedTokenizer:
    if pattern is None:
        raise UsageError(
            f"{origin}: a file of ranks does not say how texts are cut into words: give "
            f"tokenizer:file={origin},pattern=NAME ({', '.join(RANK_PATTERNS)}, or a regular "
            "expression), or put the expression into pattern.txt beside it"
        )
    written_out = expression(pattern, RANK_PATTERNS)
    library = RankLibrary(file, origin, written_out)
    return OpenedTokenizer(
        file_name=RANK_FILE,
        pattern=written_out,
        choice=LibraryChoice(library, library.vocabulary, losses=library.losses),
        memory_per_byte=MEMORY_PER_BYTE,
        borders=word_borders(written_out),
    )


def _open_model(file: bytes, origin: str, pattern: str | None) -> OpenedTokenizer:
    written_out = None if pattern is None else expression(pattern, MODEL_PATTERNS)
    library = SentencePieceLibrary(file, origin, written_out)
    # Words are found by the other library, which takes more.
    needs_much = written_out is not None
    return OpenedTokenizer(
        file_name=MODEL_FILE,
        pattern=written_out,
        choice=LibraryChoice(library, library.vocabulary, losses=library.losses),
        memory_per_byte=LIBRARY_MEMORY_PER_BYTE if needs_much else MODEL_MEMORY_PER_BYTE,
        borders=_model_borders(library, written_out),
    )


def _model_borders(library: SentencePieceLibrary, pattern: str | None) -> Borders | None:
    if pattern is not None:
        return word_borders(pattern)
    # Unused pieces are merged and taken apart again, and spell nothing here.
    return None if library.has_unused else PairBorders(library.vocabulary.token_bytes)
