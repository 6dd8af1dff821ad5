"""What can follow a symbol: the grammar of wrapped samples, for ``softmax: by_format``.

Inside raw text follow specials and raw bytes, inside compressed text specials and compressed
symbols, after anything else (``<bos>``, a closing sentinel) specials alone. The input symbol
decides, which needs sentinels (method, section 5).
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from proxylm.symbols import COMPRESSED_OFFSET, COMPRESSED_OPEN, RAW_OFFSET, RAW_OPEN, SPECIAL_COUNT


class Region(IntEnum):
    """Where a position stands, and so which rows of the output layer can follow it."""

    SPECIAL = 0
    RAW = 1
    COMPRESSED = 2

    def ranges(self, vocabulary_size: int) -> list[tuple[int, int]]:
        """Half-open id ranges of what can follow, in increasing order.

        >>> Region.RAW.ranges(4416), Region.COMPRESSED.ranges(4416)
        ([(0, 320)], [(0, 64), (320, 4416)])
        """
        if self is Region.RAW:
            return [(0, COMPRESSED_OFFSET)]
        if self is Region.COMPRESSED and vocabulary_size > COMPRESSED_OFFSET:
            return [(0, SPECIAL_COUNT), (COMPRESSED_OFFSET, vocabulary_size)]
        return [(0, SPECIAL_COUNT)]


def regions(symbols: Tensor) -> Tensor:
    """The ``Region`` of each symbol's position, same shape, int64.

    >>> regions(torch.tensor([1, 12, 64 + 97, 13, 14, 400, 15, 2])).tolist()
    [0, 1, 1, 0, 2, 2, 0, 0]
    """
    raw = (symbols == RAW_OPEN) | ((symbols >= RAW_OFFSET) & (symbols < COMPRESSED_OFFSET))
    compressed = (symbols == COMPRESSED_OPEN) | (symbols >= COMPRESSED_OFFSET)
    return raw.long() * Region.RAW + compressed.long() * Region.COMPRESSED


def can_follow(symbols: Tensor, vocabulary_size: int) -> Tensor:
    """Boolean ``[..., V]``: which symbols can stand right after each of ``symbols`` ``[...]``."""
    table = torch.zeros(len(Region), vocabulary_size, dtype=torch.bool, device=symbols.device)
    for region in Region:
        for start, end in region.ranges(vocabulary_size):
            table[region, start:end] = True
    return table[regions(symbols)]


def target_formats(targets: Tensor) -> Tensor:
    """0 special, 1 raw, 2 compressed, per target id, same shape, int64; negatives stay -1."""
    format_of = (targets >= RAW_OFFSET).long() + (targets >= COMPRESSED_OFFSET).long()
    return torch.where(targets < 0, -1, format_of)
