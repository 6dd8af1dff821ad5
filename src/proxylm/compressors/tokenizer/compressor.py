"""The tokenizer compressor: one symbol per token id, for any bytes.

Valid UTF-8 goes through the tokenizer as text; the bytes between valid stretches become the
tokenizer's single-byte tokens. A document whose tokens do not spell exactly its bytes (a
normalizer that drops something, an unknown token) is refused rather than changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import numpy as np
import xxhash
from jaxtyping import Int, Int64
from numpy.typing import NDArray

from proxylm.compressors.anchors import anchors_of_tokens
from proxylm.compressors.contract import CannotCompress, CompressedView, Compressor
from proxylm.compressors.tokenizer.certain_places import certain_places, cut_at_invalid_bytes
from proxylm.compressors.tokenizer.libraries import LONG_TEXT
from proxylm.compressors.tokenizer.opening import (
    TOKENIZER_FILE,
    TOKENIZER_FILES,
    open_tokenizer,
    says_its_pattern,
)
from proxylm.compressors.tokenizer.patterns import PATTERN_FILE, pattern_beside
from proxylm.config import Config, validate_config
from proxylm.errors import DamagedFileError, DataError
from proxylm.groups import in_groups
from proxylm.symbols import BYTE_COUNT

NOT_EXACT = "not_exact"
"""Reason: the tokenizer's tokens do not spell the document."""
NO_BYTE_TOKENS = "no_byte_tokens"
"""Reason: the document is not UTF-8 and the tokenizer has no token for such a byte."""


class TokenizerFile(Config):
    """A tokenizer file, where its folder does not say everything.

    Attributes:
        file: a ``tokenizer.json``, a sentencepiece model, or tiktoken's ranks.
        pattern: what cuts texts into words, by name or as a regular expression; for ranks, and
            for a model that has texts cut before it.
    """

    file: Path
    pattern: str | None = None


class TokenizerCompressor(Compressor):
    """Token ids as symbols: of a Hugging Face ``tokenizer.json``, a sentencepiece model, or ranks.

    Special tokens are never added, and text that spells one stays text.

    Args:
        file: the file's bytes; they are kept and saved exactly.
        origin: where they come from, for messages.
        pattern: what cuts texts into words, by name or written out, where the file does not say.

    Attributes:
        token_bytes: the bytes of every symbol; empty for one that no text has.

    Raises:
        DamagedFileError: the file is not a tokenizer.
        UsageError: a pattern is missing or wrong, or the library for the file is not installed.
    """

    kind = "tokenizer"
    reversible = True

    def __init__(
        self, file: bytes, origin: str = TOKENIZER_FILE, pattern: str | None = None
    ) -> None:
        self._file = file
        opened = open_tokenizer(file, origin, pattern)
        self._file_name, self._pattern = opened.file_name, opened.pattern
        self._memory_per_byte = opened.memory_per_byte
        self._choice, self._cuts = opened.choice, opened.cuts
        self._borders = opened.borders
        self.token_bytes: list[bytes] = self._choice.vocabulary.token_bytes
        self.symbol_count = len(self.token_bytes)
        self._spellings = np.array(self.token_bytes, dtype=object)
        self._num_bytes = np.array([len(token) for token in self.token_bytes], dtype=np.int32)
        self._prefix = self._find_prefix()

    @classmethod
    def from_file(cls, path: Path, pattern: str | None = None) -> Self:
        """Read a tokenizer file under any name.

        Args:
            path: the file.
            pattern: as above; default what the folder says (``pattern.txt``, or the class in a
                ``tokenizer_config.json``).

        Raises:
            DamagedFileError: there is no such file, or it is no tokenizer.
            UsageError: a pattern is missing or wrong, or its library is not installed.
        """
        try:
            file = path.read_bytes()
        except FileNotFoundError:
            raise DamagedFileError(f"{path}: no such file") from None
        if pattern is None and not says_its_pattern(file):
            pattern = pattern_beside(path)
        return cls(file, str(path), pattern)

    @classmethod
    def from_folder(cls, folder: Path, settings: dict[str, Any]) -> Self:
        """Read the tokenizer file in a folder; there are no settings."""
        names = (name for name in TOKENIZER_FILES if (folder / name).is_file())
        return cls.from_file(folder / next(names, TOKENIZER_FILE))

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """``file`` and, where it does not say how it cuts texts, ``pattern``."""
        if "file" not in settings:
            return super().from_settings(settings)
        given = validate_config(TokenizerFile, settings, origin=cls.kind)
        return cls.from_file(given.file, given.pattern)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Libraries do not pickle; a worker builds its own from the file, once.
        return _rebuilt, (type(self), self._file, self._pattern)

    @property
    def settings(self) -> dict[str, Any]:
        """None: the files say everything."""
        return {}

    def content_fingerprint(self) -> str:
        """Hash of the tokenizer file, and of the pattern if there is one."""
        contents = [self._file] if self._pattern is None else [self._file, self._pattern.encode()]
        return "".join(map(xxhash.xxh3_128_hexdigest, contents))

    def save_files(self, folder: Path) -> None:
        """Write the tokenizer file as it was read, and its pattern if there is one."""
        (folder / self._file_name).write_bytes(self._file)
        if self._pattern is not None:
            (folder / PATTERN_FILE).write_bytes(f"{self._pattern}\n".encode())

    def describe(self) -> dict[str, Any]:
        """Adds the library that runs, why the faster one does not, and ids unlike the file's.

        And the pattern, and what of a text the tokens do not spell, where there are any.
        """
        return super().describe() | {
            "library": self._choice.library.name,
            "library_reason": self._choice.reason,
            "renumbered_tokens": self._choice.vocabulary.renumbered,
            "pattern": self._pattern or "",
            "not_exact_where": self._choice.losses,
        }

    @property
    def spellings(self) -> Sequence[bytes]:
        """The bytes of each token."""
        return self.token_bytes

    def memory_for(self, num_bytes: int) -> int:
        """As all, unless the library has to take a whole text, or a word as long, at once."""
        return self._memory_per_byte * num_bytes

    def encode(self, documents: Sequence[bytes]) -> list[CompressedView | CannotCompress]:
        """Token ids of each document, with anchors at token ends."""
        pieces = (
            (number, piece) for number, raw in enumerate(documents) for piece in self._cut(raw)
        )
        parts: list[list[NDArray[np.uint32]]] = [[] for _ in documents]
        for group in in_groups(pieces, lambda one: len(one[1]) + _PIECE_COST, _GROUP_SIZE):
            for number, tokens in groupby(self._encode_group(group), key=itemgetter(0)):
                parts[number].append(np.concatenate([one for _, one in tokens]))
        views = []
        for raw, own in zip(documents, parts, strict=True):
            symbols = np.concatenate((*own, _NOTHING))
            own.clear()
            views.append(self._view(raw, symbols))
        return views

    def _cut(self, raw: bytes) -> Iterator[str | bytes]:
        """A document as stretches of valid text and the runs of bytes between them, in order."""
        for piece in cut_at_invalid_bytes(raw):
            if isinstance(piece, str) and self._cuts is not None:
                yield from self._cuts.stretches(piece)
            else:
                yield piece

    def _encode_group(
        self, group: Sequence[tuple[int, str | bytes]]
    ) -> Iterator[tuple[int, NDArray[np.uint32]]]:
        """The tokens of each piece; what occurs twice (in binary data, often) is encoded once."""
        pieces = dict.fromkeys(piece for _, piece in group)
        texts = [piece for piece in pieces if isinstance(piece, str)]
        tokens: dict[str | bytes, NDArray[np.uint32]] = {
            piece: self._byte_tokens[np.frombuffer(piece, np.uint8)]
            for piece in pieces
            if isinstance(piece, bytes)
        }
        tokens |= zip(texts, self._choice.library.encode(texts), strict=True)
        for number, piece in group:
            yield number, tokens[piece]

    def _view(self, raw: bytes, symbols: NDArray[np.uint32]) -> CompressedView | CannotCompress:
        if symbols.size and symbols.max() == _NO_TOKEN:
            return CannotCompress(reason=NO_BYTE_TOKENS, detail="it is not valid UTF-8")
        if not self._spells(symbols, raw):
            losses = f" ({self._choice.losses})" if self._choice.losses else ""
            return CannotCompress(reason=NOT_EXACT, detail=f"its tokens spell other bytes{losses}")
        return CompressedView(
            symbols=symbols, anchors=anchors_of_tokens(self.num_bytes_of(symbols), 1)
        )

    def num_bytes_of(self, tokens: NDArray[np.uint32]) -> NDArray[np.int32]:
        """Bytes of a document that each of its tokens stands for, ``[t]``."""
        num_bytes = self._num_bytes[tokens]
        if len(num_bytes):
            # A space that some tokenizers put before every text is no byte of the document.
            num_bytes[0] -= len(self._prefix)
        return num_bytes

    def divide(
        self, raw: bytes, view: CompressedView
    ) -> tuple[Int[np.ndarray, " token"], Int[np.ndarray, " token"]]:
        """Token by token, a symbol each."""
        return self.num_bytes_of(view.symbols), np.ones(len(view.symbols), np.int64)

    def settled(
        self, raw: bytes, view: CompressedView
    ) -> Int64[np.ndarray, "place byte_symbol_known=3"] | None:
        """Ends of tokens where words end for certain; None where no word can be shown to."""
        if self._borders is None:
            return None
        places, known = certain_places(raw, self._borders)
        ends = np.cumsum(self.num_bytes_of(view.symbols), dtype=np.int64)
        tokens = np.searchsorted(ends, places)
        is_end = np.append(ends, -1)[tokens] == places
        return np.stack((places, tokens + 1, known), axis=1)[is_end]

    def _spells(self, symbols: NDArray[np.uint32], raw: bytes) -> bool:
        """Whether the tokens are the document's, byte for byte."""
        expected = self._prefix + raw if raw else raw
        position = 0
        for spelled in self._spelled_in_blocks(symbols):
            if not expected.startswith(spelled, position):
                return False
            position += len(spelled)
        return position == len(expected)

    @cached_property
    def _byte_tokens(self) -> NDArray[np.uint32]:
        """uint32 ``[256]``: the token of each single byte, ``_NO_TOKEN`` where there is none."""
        tokens = np.full(BYTE_COUNT, _NO_TOKEN, dtype=np.uint32)
        for index in range(self.symbol_count - 1, -1, -1):
            if self._num_bytes[index] == 1:
                tokens[self.token_bytes[index][0]] = index
        return tokens

    def _find_prefix(self) -> bytes:
        """The space that some tokenizers put before every text; part of no document."""
        (ids,) = self._choice.library.encode(["x"])
        return b" " if self._spell(ids) == b" x" else b""

    def _spell(self, symbols: NDArray[np.uint32]) -> bytes:
        return b"".join(self._spelled_in_blocks(symbols))

    def _spelled_in_blocks(self, symbols: NDArray[np.uint32]) -> Iterator[bytes]:
        for start in range(0, len(symbols), _BLOCK):
            # As an array of objects: no Python integer is made for a token.
            yield b"".join(self._spellings[symbols[start : start + _BLOCK]].tolist())

    def decode(self, symbols: Sequence[NDArray[np.uint32]]) -> list[bytes]:
        """The bytes that each sequence of token ids spells."""
        return [self._decode_one(index, one) for index, one in enumerate(symbols)]

    def _decode_one(self, index: int, symbols: NDArray[np.uint32]) -> bytes:
        spelled = self._spell(symbols)
        if not spelled.startswith(self._prefix) and symbols.size:
            raise DataError(f"tokenizer: sequence {index} does not start as this tokenizer's do")
        return spelled[len(self._prefix) :]


@lru_cache(maxsize=2)
def _rebuilt(
    compressor_class: type[TokenizerCompressor], file: bytes, pattern: str | None
) -> TokenizerCompressor:
    return compressor_class(file, pattern=pattern)


_NOTHING = np.empty(0, dtype=np.uint32)
_NO_TOKEN = np.uint32(0xFFFFFFFF)
_GROUP_SIZE = LONG_TEXT
"""Characters of the pieces that a library gets in one call, with ``_PIECE_COST`` for each piece."""
_PIECE_COST = 4
_BLOCK = 1 << 16
"""Tokens that are spelled at once: as Python objects they take ten times their memory."""
