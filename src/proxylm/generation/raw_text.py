"""The ids of raw text, and of a prompt of it (method, section 7)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from proxylm.symbols import RAW_OFFSET, Format, opening


def raw_symbols(data: bytes) -> Int64[np.ndarray, " bytes"]:
    """The bytes' ids."""
    return np.frombuffer(data, dtype=np.uint8).astype(np.int64) + RAW_OFFSET


def prompt_symbols(prompt: bytes, *, sentinels: bool) -> Int64[np.ndarray, " symbols"]:
    """``<bos> <raw> prompt`` as ids (method, section 7), or ``<bos> prompt`` without sentinels.

    The empty prompt is the prefix alone: the model then starts a document of its own.
    """
    prefix = np.array(opening(Format.RAW, sentinels=sentinels), dtype=np.int64)
    return np.concatenate([prefix, raw_symbols(prompt)])
