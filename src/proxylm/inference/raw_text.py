"""What the model reads and may write when it continues raw bytes (method, section 7)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxylm.symbols import BOS, BYTE_COUNT, COMPRESSED_OFFSET, EOS, RAW_CLOSE, RAW_OFFSET, RAW_OPEN


def prompt_symbols(prompt: bytes, *, sentinels: bool) -> NDArray[np.int64]:
    """``<bos> <raw> prompt`` as ids (method, section 7), or ``<bos> prompt`` without sentinels.

    The empty prompt is the prefix alone: the model then starts a document of its own.
    """
    prefix = [BOS, RAW_OPEN] if sentinels else [BOS]
    content = np.frombuffer(prompt, dtype=np.uint8).astype(np.int64) + RAW_OFFSET
    return np.concatenate([np.array(prefix, dtype=np.int64), content])


def may_follow(*, sentinels: bool) -> NDArray[np.bool_]:
    """``[COMPRESSED_OFFSET]``: the bytes and the symbols that end the text."""
    allowed = np.zeros(COMPRESSED_OFFSET, dtype=bool)
    allowed[[EOS, RAW_CLOSE] if sentinels else [EOS]] = True
    allowed[RAW_OFFSET : RAW_OFFSET + BYTE_COUNT] = True
    return allowed
