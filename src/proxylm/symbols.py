"""The one symbol layout: specials, raw bytes, compressed symbols (method, section 2).

Every other module derives ids, ranges and masks from here; nothing else spells a symbol id out.
Text never yields a special symbol: a byte becomes ``byte + RAW_OFFSET`` and a compressed symbol
``symbol + COMPRESSED_OFFSET``, so the two ranges cannot meet the first 64 ids.
"""

from __future__ import annotations

from enum import IntEnum

SPECIAL_COUNT = 64
BYTE_COUNT = 256
RAW_OFFSET = SPECIAL_COUNT
COMPRESSED_OFFSET = SPECIAL_COUNT + BYTE_COUNT

PAD = 0
BOS = 1
EOS = 2
UNK = 3
SEP = 4
RAW_OPEN = 12
RAW_CLOSE = 13
COMPRESSED_OPEN = 14
COMPRESSED_CLOSE = 15

SPECIAL_NAMES = {
    PAD: "<pad>",
    BOS: "<bos>",
    EOS: "<eos>",
    UNK: "<unk>",
    SEP: "<sep>",
    RAW_OPEN: "<raw>",
    RAW_CLOSE: "</raw>",
    COMPRESSED_OPEN: "<compressed>",
    COMPRESSED_CLOSE: "</compressed>",
}

IGNORED_TARGET = -100
"""A masked target: the position trains nothing (the value torch's cross-entropy ignores)."""


class Format(IntEnum):
    """The two views a document can be shown in; the value is stored in plans and batches."""

    RAW = 0
    COMPRESSED = 1

    @property
    def offset(self) -> int:
        """Added to a byte, or to a compressor's symbol, to give its id in the vocabulary."""
        return COMPRESSED_OFFSET if self else RAW_OFFSET

    @property
    def open(self) -> int:
        """The sentinel that starts a stretch of this format."""
        return COMPRESSED_OPEN if self else RAW_OPEN

    @property
    def close(self) -> int:
        """The sentinel that ends a stretch of this format."""
        return COMPRESSED_CLOSE if self else RAW_CLOSE


def opening(content_format: Format, *, sentinels: bool) -> list[int]:
    """What stands before a text's content: ``<bos>`` and the sentinel, or ``<bos>`` alone.

    >>> opening(Format.RAW, sentinels=True)
    [1, 12]
    """
    return [BOS, content_format.open] if sentinels else [BOS]


def vocabulary_size(compressed_symbol_count: int) -> int:
    """Size of the shared vocabulary for a compressor of ``K`` symbols (0: bytes alone).

    >>> vocabulary_size(96640)
    96960
    """
    return COMPRESSED_OFFSET + compressed_symbol_count


def symbol_name(symbol: int) -> str:
    """A readable name of one id, for pictures of contexts and for error messages.

    >>> symbol_name(1), symbol_name(64 + 97), symbol_name(320)
    ('<bos>', "b'a'", '#0')
    """
    if symbol < SPECIAL_COUNT:
        return SPECIAL_NAMES.get(symbol, f"<extra_id_{symbol}>")
    if symbol < COMPRESSED_OFFSET:
        return repr(bytes([symbol - RAW_OFFSET]))
    return f"#{symbol - COMPRESSED_OFFSET}"
