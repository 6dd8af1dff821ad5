"""Which bytes the symbols that a model writes stand for, one symbol after another.

Stop strings, streams and results are about bytes, whatever the symbols are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import Compressor
from proxylm.errors import DataError


class Speller(ABC):
    """Says which bytes each further symbol of one text adds."""

    @abstractmethod
    def feed(self, symbol: int) -> bytes:
        """The bytes that are certain with this symbol (without its format's offset)."""


class ByteSpeller(Speller):
    """Raw output: each symbol is a byte."""

    def feed(self, symbol: int) -> bytes:
        """See the base class."""
        return bytes([symbol])


class CompressedSpeller(Speller):
    """A compressor's output after a prompt in its symbols.

    Symbols that end inside a unit of the compressor (half of a token's bytes) spell nothing until
    it is complete.

    Args:
        compressor: a reversible one.
        prompt: the prompt's symbols; what they spell is no output.
    """

    def __init__(self, compressor: Compressor, prompt: NDArray[np.uint32]) -> None:
        self._compressor = compressor
        self._symbols = prompt.tolist()
        self._known = self._spelled() or b""

    def feed(self, symbol: int) -> bytes:
        """See the base class."""
        self._symbols.append(symbol)
        text = self._spelled()
        if text is None or not text.startswith(self._known):
            return b""
        added, self._known = text[len(self._known) :], text
        return added

    def _spelled(self) -> bytes | None:
        try:
            [text] = self._compressor.decompress([np.array(self._symbols, dtype=np.uint32)])
        except DataError:
            return None
        return text
