"""A compressor of a few words, whose symbols spell their bytes wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from proxylm.compressors.contract import CompressedView, Compressor


class LongestWords(Compressor):
    """The longest word that the text begins with first; empty words never come."""

    kind = "longest-words"
    reversible = True

    def __init__(self, words: Sequence[bytes]) -> None:
        self.words = list(words)
        self.symbol_count = len(words)

    @property
    def spellings(self) -> list[bytes] | None:
        return self.words

    @property
    def settings(self) -> dict[str, Any]:
        return {"words": [word.hex() for word in self.words]}

    def encode(self, documents: Any) -> list[Any]:
        views = [np.array([*self._symbols(raw)], np.uint32) for raw in documents]
        return [CompressedView(symbols=one) for one in views]

    def divide(self, raw: bytes, view: CompressedView) -> Any:
        lengths = [len(self.words[symbol]) for symbol in view.symbols]
        return np.array(lengths, np.int64), np.ones(len(lengths), np.int64)

    def decode(self, symbols: Any) -> list[bytes]:
        return [b"".join(self.words[symbol] for symbol in row) for row in symbols]

    def _symbols(self, raw: bytes) -> Iterator[int]:
        while raw:
            longest = max(filter(raw.startswith, self.words), key=len)
            assert longest, f"no word begins {raw!r}"
            yield self.words.index(longest)
            raw = raw[len(longest) :]
