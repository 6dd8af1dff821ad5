"""Keys and values of text that was read, kept so that a prompt that begins like it goes on there.

They are kept in blocks, each named by a digest of all symbols up to its end: what is before a
block decides its keys. A text is a path of blocks, texts that begin alike share the first of them,
and the least recently used ones make room. With EVA the blocks of a window that is complete are
one of its summaries; a prompt that leaves the text inside such a window goes on from the window's
beginning. With causal attention every block has keys.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from proxylm.models.cache import Cache

BLOCK_SYMBOLS = 64
"""Of a block of keys: of what could be taken over, up to so many symbols are read again."""

Symbols = Int64[np.ndarray, " symbols"]


class PrefixMemory:
    """Blocks of keys and values, and of summaries, of texts that one model has read.

    Args:
        max_bytes: that all blocks take together; 0 keeps nothing.
        block_symbols: most symbols of a block of keys; a window is a multiple of what is taken.

    Attributes:
        bytes: that the blocks take.
        hits: rows that went on from what was kept.
        reused_symbols: that these rows did not read again.
    """

    def __init__(self, max_bytes: int, *, block_symbols: int = BLOCK_SYMBOLS) -> None:
        self.bytes = 0
        self.hits = 0
        self.reused_symbols = 0
        self._max_bytes = max_bytes
        self._block_symbols = block_symbols
        self._blocks: OrderedDict[str, Tensor] = OrderedDict()  # the least recently used one first

    def resume(self, symbols: Symbols, cache: Cache, row: int) -> int:
        """Put a row of a cache behind the longest beginning of ``symbols`` that is known.

        Returns:
            How many symbols that are.
        """
        digests = self._digests(symbols, cache)
        summaries, keys = self._longest(digests, cache)
        if not summaries and not keys:
            return 0
        self._touch([*summaries, *keys])
        taken = [[self._blocks[name] for name in names] for names in (summaries, keys)]
        cache.resume(row, *taken)
        count = int(cache.positions[row])
        self.hits += 1
        self.reused_symbols += count
        return count

    def beginning(self, symbols: Symbols) -> bytes | None:
        """Equal of texts that may share more than one block's symbols; None of a shorter text."""
        count = self._block_symbols
        return symbols[:count].tobytes() if len(symbols) > count else None

    def keep(self, symbols: Symbols, cache: Cache, row: int) -> None:
        """Keep what a row that has read ``symbols``, and nothing more, stands on."""
        path: list[str] = []
        new: dict[str, Tensor] = {}
        size = 0  # of the path: its end is left out where all of it would be too much
        for name, copy in self._path(self._digests(symbols, cache), cache, row):
            block = self._blocks[name] if name in self._blocks else copy()
            size += block.nbytes
            if size > self._max_bytes:
                break
            path.append(name)
            if name not in self._blocks:
                new[name] = block
        self._touch([name for name in path if name not in new])
        self._make_room(sum(block.nbytes for block in new.values()))
        self._blocks.update(new)
        self._touch(path)

    def _make_room(self, size: int) -> None:
        self.bytes += size
        while self.bytes > self._max_bytes:
            self.bytes -= self._blocks.popitem(last=False)[1].nbytes

    def _path(
        self, digests: list[str], cache: Cache, row: int
    ) -> Iterator[tuple[str, Callable[[], Tensor]]]:
        """The blocks that a row has, from the first on: the name of each, and what copies it."""
        block, per_window = self._block_of(cache), self._blocks_per_window(cache)
        windows = cache.summarized_windows(row)
        for window in range(windows):
            name = _of_summaries(digests[(window + 1) * per_window - 1])
            yield name, partial(cache.summaries_of, row, window)
        for index in range(windows * per_window, len(digests)):
            start = index * block
            yield _of_keys(digests[index]), partial(cache.keys_of, row, start, start + block)

    def _longest(self, digests: list[str], cache: Cache) -> tuple[list[str], list[str]]:
        """The names of the known blocks of a text: of summaries, and of the keys behind them."""
        per_window = self._blocks_per_window(cache)
        ends = digests[per_window - 1 :: per_window]
        summaries = self._known(map(_of_summaries, ends))
        start = len(summaries) * per_window
        return summaries, self._known(map(_of_keys, digests[start : start + per_window]))

    def _known(self, names: Iterator[str]) -> list[str]:
        known = []
        for name in names:
            if name not in self._blocks:
                break
            known.append(name)
        return known

    def _touch(self, path: list[str]) -> None:
        """Count blocks as just used, the first ones last: without them the others are useless."""
        for name in reversed(path):
            self._blocks.move_to_end(name)

    def _block_of(self, cache: Cache) -> int:
        return math.gcd(self._block_symbols, cache.window)

    def _blocks_per_window(self, cache: Cache) -> int:
        return cache.window // self._block_of(cache)

    def _digests(self, symbols: Symbols, cache: Cache) -> list[str]:
        """Of all symbols up to the end of each whole block."""
        block, hashed = self._block_of(cache), hashlib.blake2b(digest_size=16)
        digests = []
        for start in range(0, len(symbols) - block + 1, block):
            hashed.update(np.ascontiguousarray(symbols[start : start + block]).tobytes())
            digests.append(hashed.hexdigest())
        return digests


def _of_summaries(digest: str) -> str:
    return f"summaries {digest}"


def _of_keys(digest: str) -> str:
    return f"keys {digest}"
