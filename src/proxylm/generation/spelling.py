"""Which bytes a compressor's symbols stand for, as a model writes one after another.

Stop strings, streams and results are about bytes, whatever the symbols are.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt32

from proxylm.compressors.contract import Compressor
from proxylm.errors import DataError


class CompressedSpeller:
    """A compressor's output after a prompt in its symbols.

    Symbols that end inside a unit of the compressor (half of a token's bytes) spell nothing until
    it is complete.

    Args:
        compressor: a reversible one.
        prompt: the prompt's symbols; what they spell is no output.
    """

    def __init__(self, compressor: Compressor, prompt: UInt32[np.ndarray, " symbols"]) -> None:
        self._compressor = compressor
        self._symbols = prompt.tolist()
        self._known = self._spelled() or b""

    def spell(self, symbol: int) -> bytes:
        """The bytes that are certain with this further symbol."""
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
