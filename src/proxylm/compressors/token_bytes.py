"""Token bytes (method, section 3): each token id of a tokenizer written as bytes, K = 256.

A tokenizer compressor finds the tokens; an encoding says which bytes stand for each id:

- *fixed*: the id, big-endian, in the smallest ``n`` bytes with ``256^n`` at least the number of
  tokens (96 640 tokens: 3; 65 536: 2);
- *gray*: tokens are sorted by their byte string (ties by id), and the rank's Gray code is written
  in ``n`` bytes, so that neighbours in that order differ in one bit;
- *huffman*: a byte-aligned prefix code, short for frequent tokens. Frequencies are counted once
  on a sample and kept; every count is raised by one, so that each token has a code word.

*double-byte* reads two such bytes as one of 65 536 symbols. It needs fixed-length codes of just
two bytes (257 to 65 536 tokens), so that a symbol never holds parts of two tokens.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import xxhash
from jaxtyping import Int, Int64
from numpy.typing import NDArray

from proxylm.compressors.anchors import anchors_of_tokens, anchors_of_uneven_tokens
from proxylm.compressors.contract import CannotCompress, CompressedView, Compressor
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.config import Config, validate_config
from proxylm.corpus.document import Document
from proxylm.corpus.left_out import LeftOut, nothing_left
from proxylm.errors import DamagedFileError, DataError, UsageError
from proxylm.inputs import as_integers
from proxylm.symbols import BYTE_COUNT

FREQUENCIES_FILE = "token_frequencies.npy"
_COUNTS_BELOW = 1 << 62


def code_bytes(token_count: int) -> int:
    """Bytes of a fixed-length code: the smallest ``n`` with ``256^n >= token_count``.

    >>> code_bytes(96_640), code_bytes(65_536), code_bytes(256)
    (3, 2, 1)
    """
    return max(1, ((token_count - 1).bit_length() + 7) // 8)


class TokenBytesSettings(Config):
    """How token ids are written.

    Attributes:
        encoding: how an id becomes bytes; huffman counts tokens in a corpus.
        double_byte: two bytes as one of 65536 symbols (fixed and gray).
    """

    encoding: Literal["fixed", "gray", "huffman"] = "fixed"
    double_byte: bool = False

    @property
    def needs_frequencies(self) -> bool:
        """Whether tokens have to be counted first."""
        return self.encoding == "huffman"


class TokenCode:
    """A prefix code over bytes: one code word per token.

    Attributes:
        words: the code words in order of token id.
        lengths: int64 ``[tokens]``, bytes of each.
    """

    def __init__(self, words: Sequence[bytes]) -> None:
        self.words = list(words)
        self.lengths = np.array([len(word) for word in words], dtype=np.int64)
        longest = int(self.lengths.max())
        padded = b"".join(word.ljust(longest, b"\0") for word in words)
        self._table = np.frombuffer(padded, dtype=np.uint8).reshape(len(words), longest)
        self._is_used = np.arange(longest) < self.lengths[:, None]

    @property
    def is_uniform(self) -> bool:
        """Whether all code words are of one length."""
        return self._table.shape[1] == int(self.lengths.min())

    def write(self, tokens: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """The code words of tokens, one after the other: uint8 ``[bytes]``."""
        rows = self._table[tokens]
        if self.is_uniform:
            return rows.reshape(-1)
        return rows[self._is_used[tokens]]

    def read(self, data: bytes) -> NDArray[np.uint32]:
        """The tokens that bytes stand for.

        Raises:
            ValueError: they are not a sequence of code words.
        """
        tokens: list[int] = []
        start = stop = 0
        while start < len(data):
            stop += 1
            token = self._token_of.get(data[start:stop])
            if token is not None:
                tokens.append(token)
                start = stop
            elif stop >= len(data):
                raise ValueError("it ends inside a code word, or holds an unused one")
        return np.array(tokens, dtype=np.uint32)

    @cached_property
    def _token_of(self) -> dict[bytes, int]:
        return {word: token for token, word in enumerate(self.words)}


def fixed_code(token_count: int) -> TokenCode:
    """Ids, big-endian."""
    width = code_bytes(token_count)
    return TokenCode([token.to_bytes(width, "big") for token in range(token_count)])


def gray_code(token_bytes: Sequence[bytes]) -> TokenCode:
    """Gray codes of the tokens' ranks when sorted by their bytes, ties by id."""
    width = code_bytes(len(token_bytes))
    ranked = sorted(range(len(token_bytes)), key=lambda token: (token_bytes[token], token))
    words = [b""] * len(token_bytes)
    for rank, token in enumerate(ranked):
        words[token] = (rank ^ (rank >> 1)).to_bytes(width, "big")
    return TokenCode(words)


def huffman_code(frequencies: NDArray[np.int64]) -> TokenCode:
    """The canonical 256-ary Huffman code; ties by token id, so it is the same everywhere."""
    lengths = _huffman_lengths([int(count) + 1 for count in frequencies])
    words = [b""] * len(lengths)
    value, width = 0, 1
    for token in sorted(range(len(lengths)), key=lambda token: (lengths[token], token)):
        value <<= 8 * (lengths[token] - width)
        width = lengths[token]
        words[token] = value.to_bytes(width, "big")
        value += 1
    return TokenCode(words)


def _huffman_lengths(counts: list[int]) -> list[int]:
    """Bytes of each token's code word: depth in the optimal tree with 256 branches a node."""
    # With this many leaves at the first join, every later join takes 256 and the root is full.
    first_join = (len(counts) - 2) % (BYTE_COUNT - 1) + 2
    heap = [(count, token) for token, count in enumerate(counts)]
    heapq.heapify(heap)
    children: dict[int, list[int]] = {}
    node, joined = len(counts), first_join
    while len(heap) > 1:
        taken = [heapq.heappop(heap) for _ in range(min(joined, len(heap)))]
        children[node] = [child for _, child in taken]
        heapq.heappush(heap, (sum(count for count, _ in taken), node))
        node, joined = node + 1, BYTE_COUNT
    depths = {node - 1: 0}
    for parent in range(node - 1, len(counts) - 1, -1):
        depths |= dict.fromkeys(children[parent], depths[parent] + 1)
    return [max(1, depths[token]) for token in range(len(counts))]


def count_tokens(
    tokenizer: TokenizerCompressor, documents: Iterable[Document], left_out: LeftOut
) -> NDArray[np.int64]:
    """How often each token occurs in a sample: int64 ``[tokens]``.

    Documents that the tokenizer has no exact form for are counted in ``left_out``.

    Raises:
        DataError: no token occurs at all.
    """
    counts = np.zeros(tokenizer.symbol_count, dtype=np.int64)
    for document in documents:
        (view,) = tokenizer.encode([document.raw])
        if isinstance(view, CompressedView):
            counts += np.bincount(view.symbols, minlength=len(counts))
        else:
            left_out.add(view.rejection(document.id))
    if not counts.any():
        raise nothing_left("token-bytes: no token to count", left_out, "give a larger corpus")
    return counts


class TokenBytesCompressor(Compressor):
    """The tokens of a tokenizer compressor as bytes, or pairs of bytes.

    Args:
        tokenizer: finds the tokens.
        settings: encoding and width.
        frequencies: int64 ``[tokens]``, occurrences in a sample; for ``huffman`` only.

    Raises:
        UsageError: double-byte symbols cannot be made from this encoding or tokenizer, or the
            frequencies are not one count for each token.
    """

    kind = "token-bytes"
    reversible = True

    def __init__(
        self,
        tokenizer: TokenizerCompressor,
        settings: TokenBytesSettings,
        frequencies: NDArray[np.int64] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._settings = settings
        try:
            self._frequencies = _checked_counts(frequencies, tokenizer.symbol_count)
        except ValueError as error:
            raise UsageError(f"token-bytes: frequencies: {error}") from None
        self._code = self._build_code()
        if settings.double_byte and not (self._code.is_uniform and self._code.lengths[0] == 2):
            raise UsageError(
                "token-bytes: double_byte needs encoding fixed or gray and 257 to 65536 tokens; "
                f"this is {settings.encoding} with {tokenizer.symbol_count}"
            )
        self._width = 2 if settings.double_byte else 1
        self.symbol_count = BYTE_COUNT**self._width

    def _build_code(self) -> TokenCode:
        match self._settings.encoding:
            case "fixed":
                return fixed_code(self._tokenizer.symbol_count)
            case "gray":
                return gray_code(self._tokenizer.token_bytes)
            case "huffman":
                if self._frequencies is None:
                    raise UsageError("token-bytes: huffman needs a corpus to count tokens in")
                return huffman_code(self._frequencies)

    @property
    def settings(self) -> dict[str, Any]:
        """Encoding and width."""
        return self._settings.model_dump()

    def content_fingerprint(self) -> str:
        """The tokenizer's, and a hash of the frequencies."""
        counted = b"" if self._frequencies is None else self._frequencies.astype("<i8").tobytes()
        return self._tokenizer.fingerprint + xxhash.xxh3_128_hexdigest(counted)

    def save_files(self, folder: Path) -> None:
        """Write the tokenizer and, for ``huffman``, the frequencies."""
        self._tokenizer.save_files(folder)
        if self._frequencies is not None:
            np.save(folder / FREQUENCIES_FILE, self._frequencies, allow_pickle=False)

    @classmethod
    def from_folder(cls, folder: Path, settings: dict[str, Any]) -> Self:
        """Read tokenizer and frequencies."""
        checked = validate_config(TokenBytesSettings, settings, origin=str(folder))
        tokenizer = TokenizerCompressor.from_folder(folder, {})
        frequencies = None
        if checked.needs_frequencies:
            frequencies = _load_frequencies(folder / FREQUENCIES_FILE, tokenizer.symbol_count)
        return cls(tokenizer, checked, frequencies)

    def memory_for(self, num_bytes: int) -> int:
        """As the tokenizer's."""
        return self._tokenizer.memory_for(num_bytes)

    def encode(self, documents: Sequence[bytes]) -> list[CompressedView | CannotCompress]:
        """The code words of each document's tokens; anchors at token ends."""
        return [
            view if isinstance(view, CannotCompress) else self._rewrite(view.symbols)
            for view in self._tokenizer.encode(documents)
        ]

    def _rewrite(self, tokens: NDArray[np.uint32]) -> CompressedView:
        written = self._code.write(tokens)
        symbols = written.view(">u2") if self._settings.double_byte else written
        num_bytes = self._tokenizer.num_bytes_of(tokens)
        if self._code.is_uniform:
            anchors = anchors_of_tokens(num_bytes, int(self._code.lengths[0]) // self._width)
        else:
            anchors = anchors_of_uneven_tokens(
                num_bytes, self._code.lengths.astype(np.int32)[tokens]
            )
        return CompressedView(symbols=symbols.astype(np.uint32), anchors=anchors)

    def divide(
        self, raw: bytes, view: CompressedView
    ) -> tuple[Int[np.ndarray, " token"], Int[np.ndarray, " token"]]:
        """Token by token, as many symbols as its code word has."""
        tokens = self._read(0, view.symbols)
        return self._tokenizer.num_bytes_of(tokens), self._code.lengths[tokens] // self._width

    def settled(
        self, raw: bytes, view: CompressedView
    ) -> Int64[np.ndarray, "place byte_symbol_known=3"] | None:
        """Where the tokenizer's tokens are certain."""
        tokens = self._read(0, view.symbols)
        places = self._tokenizer.settled(raw, CompressedView(symbols=tokens))
        if places is not None:
            ends = np.cumsum(self._code.lengths[tokens] // self._width, dtype=np.int64)
            places[:, 1] = ends[places[:, 1] - 1]
        return places

    def decode(self, symbols: Sequence[NDArray[np.uint32]]) -> list[bytes]:
        """Read the code words, then the tokens."""
        tokens = [self._read(index, one) for index, one in enumerate(symbols)]
        return self._tokenizer.decode(tokens)

    def _read(self, index: int, symbols: NDArray[np.uint32]) -> NDArray[np.uint32]:
        written = symbols.astype(">u2" if self._settings.double_byte else np.uint8)
        try:
            return self._code.read(written.tobytes())
        except ValueError as error:
            raise DataError(f"token-bytes: sequence {index}: {error}") from None


def _load_frequencies(path: Path, token_count: int) -> NDArray[np.int64] | None:
    try:
        return _checked_counts(np.load(path, allow_pickle=False), token_count)
    except (OSError, ValueError) as error:
        raise DamagedFileError(f"{path}: not readable ({error})") from None


def _checked_counts(counts: Any, token_count: int) -> NDArray[np.int64] | None:
    """Counts as int64 ``[tokens]``; a ``ValueError`` if they are no counts, or not so many."""
    if counts is None:
        return None
    checked = as_integers(counts, _COUNTS_BELOW, kind="count of token")
    if len(checked) != token_count:
        raise ValueError(f"{len(checked)} counts for {token_count} tokens")
    return checked.astype(np.int64, copy=False)
