"""The tokenizer compressor: one symbol per token id, for any bytes.

Valid UTF-8 goes through the tokenizer as text; the bytes between valid stretches become the
tokenizer's single-byte tokens. A document whose tokens do not spell exactly its bytes (a
normalizer that drops something, an unknown token) is refused rather than changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from proxylm.compressors.anchors import anchors_of_tokens
from proxylm.compressors.contract import CannotCompress, CompressedView, Compressor
from proxylm.compressors.tokenizer.engines import choose_engine
from proxylm.compressors.tokenizer.specification import TokenizerSpecification
from proxylm.errors import DamagedFileError, DataError

TOKENIZER_FILE = "tokenizer.json"
INVALID_BYTES = re.compile("[\udc80-\udcff]+")
"""How Python decodes bytes that are not UTF-8 under ``surrogateescape``."""

NOT_EXACT = "not_exact"
"""Reason: the tokenizer's tokens do not spell the document."""
NO_BYTE_TOKENS = "no_byte_tokens"
"""Reason: the document is not UTF-8 and the tokenizer has no token for such a byte."""


class TokenizerCompressor(Compressor):
    """Token ids of a Hugging Face ``tokenizer.json`` as symbols.

    Special tokens are never added, and text that spells one stays text.

    Args:
        file: the file's bytes; they are kept and saved exactly.
        origin: where they come from, for messages.

    Raises:
        DamagedFileError: the file is not a tokenizer.
    """

    kind = "tokenizer"
    reversible = True

    def __init__(self, file: bytes, origin: str = TOKENIZER_FILE) -> None:
        self._file = file
        self._specification = TokenizerSpecification.parse(file, origin)
        self._choice = choose_engine(self._specification)
        self.token_bytes: list[bytes] = self._specification.token_bytes()
        self.symbol_count = len(self.token_bytes)
        self._num_bytes = np.array([len(token) for token in self.token_bytes], dtype=np.int64)
        self._loses_nothing = self._specification.loses_nothing()
        self._prefix = self._find_prefix()

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a ``tokenizer.json`` under any name."""
        try:
            return cls(path.read_bytes(), str(path))
        except FileNotFoundError:
            raise DamagedFileError(f"{path}: no such file") from None

    @classmethod
    def from_folder(cls, folder: Path, settings: dict[str, Any]) -> Self:
        """Read ``tokenizer.json`` in a folder; there are no settings."""
        return cls.from_file(folder / TOKENIZER_FILE)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Engines do not pickle; a worker builds its own from the file, once.
        return _rebuilt, (type(self), self._file)

    @property
    def settings(self) -> dict[str, Any]:
        """None: the file says everything."""
        return {}

    def content_fingerprint(self) -> str:
        """Hash of the tokenizer file."""
        return xxhash.xxh3_128_hexdigest(self._file)

    def save_files(self, folder: Path) -> None:
        """Write the tokenizer file as it was read."""
        (folder / TOKENIZER_FILE).write_bytes(self._file)

    def describe(self) -> dict[str, Any]:
        """Adds the engine that runs and why the faster one does not."""
        engine = {"engine": self._choice.engine.name, "engine_reason": self._choice.reason}
        return super().describe() | engine

    def encode(self, documents: Sequence[bytes]) -> list[CompressedView | CannotCompress]:
        """Token ids of each document, with anchors at token ends."""
        cut = [_cut_at_invalid_bytes(raw) for raw in documents]
        texts = [piece for pieces in cut for piece in pieces if isinstance(piece, str)]
        encoded = iter(self._choice.engine.encode(texts))
        views: list[CompressedView | CannotCompress] = []
        for raw, pieces in zip(documents, cut, strict=True):
            parts = [
                next(encoded) if isinstance(piece, str) else self._tokens_of_bytes(piece)
                for piece in pieces
            ]
            views.append(self._view(raw, parts))
        return views

    def _view(
        self, raw: bytes, parts: list[NDArray[np.uint32] | None]
    ) -> CompressedView | CannotCompress:
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return CannotCompress(reason=NO_BYTE_TOKENS, detail="it is not valid UTF-8")
        symbols = known[0] if len(known) == 1 else np.concatenate((*known, _NOTHING))
        num_bytes = self._num_bytes[symbols]
        if not self._is_exact(raw, symbols, num_bytes):
            return CannotCompress(reason=NOT_EXACT, detail="its tokens spell other bytes")
        if self._prefix and len(num_bytes):
            num_bytes[0] -= len(self._prefix)
        return CompressedView(symbols=symbols, anchors=anchors_of_tokens(num_bytes, 1))

    def _is_exact(
        self, raw: bytes, symbols: NDArray[np.uint32], num_bytes: NDArray[np.int64]
    ) -> bool:
        if self._loses_nothing:
            return int(num_bytes.sum()) == len(raw)
        return self._spell(symbols) == (self._prefix + raw if raw else raw)

    def _tokens_of_bytes(self, data: bytes) -> NDArray[np.uint32] | None:
        tokens = self._byte_tokens[np.frombuffer(data, dtype=np.uint8)]
        return None if (tokens < 0).any() else tokens.astype(np.uint32)

    @cached_property
    def _byte_tokens(self) -> NDArray[np.int64]:
        """int64 ``[256]``: the token of each single byte, -1 where there is none."""
        tokens = np.full(256, -1, dtype=np.int64)
        for index in range(self.symbol_count - 1, -1, -1):
            if self._num_bytes[index] == 1:
                tokens[self.token_bytes[index][0]] = index
        return tokens

    def _find_prefix(self) -> bytes:
        """The space that some tokenizers put before every text; part of no document."""
        if self._loses_nothing:
            return b""
        (ids,) = self._choice.engine.encode(["x"])
        return b" " if self._spell(ids) == b" x" else b""

    def _spell(self, symbols: NDArray[np.uint32]) -> bytes:
        return b"".join(map(self.token_bytes.__getitem__, symbols.tolist()))

    def decode(self, symbols: Sequence[NDArray[np.uint32]]) -> list[bytes]:
        """The bytes that each sequence of token ids spells."""
        return [self._decode_one(index, one) for index, one in enumerate(symbols)]

    def _decode_one(self, index: int, symbols: NDArray[np.uint32]) -> bytes:
        spelled = self._spell(symbols)
        if not spelled.startswith(self._prefix) and symbols.size:
            raise DataError(f"tokenizer: sequence {index} does not start as this tokenizer's do")
        return spelled[len(self._prefix) :]


@lru_cache(maxsize=2)
def _rebuilt(compressor_class: type[TokenizerCompressor], file: bytes) -> TokenizerCompressor:
    return compressor_class(file)


_NOTHING = np.empty(0, dtype=np.uint32)


def _cut_at_invalid_bytes(raw: bytes) -> list[str | bytes]:
    """A document as valid texts and the runs of bytes between them, in order."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return _cut_escaped(raw.decode(errors="surrogateescape"))
    return [text] if text else []


def _cut_escaped(escaped: str) -> list[str | bytes]:
    pieces: list[str | bytes] = []
    start = 0
    for run in INVALID_BYTES.finditer(escaped):
        if run.start() > start:
            pieces.append(escaped[start : run.start()])
        pieces.append(run[0].encode(errors="surrogateescape"))
        start = run.end()
    return [*pieces, escaped[start:]] if start < len(escaped) else pieces
