"""The ids of raw text, and of a prompt of it (method, section 7)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxylm.symbols import RAW_OFFSET, Format, opening


def raw_symbols(data: bytes) -> NDArray[np.int64]:
    """The bytes' ids ``[len(data)]``."""
    return np.frombuffer(data, dtype=np.uint8).astype(np.int64) + RAW_OFFSET


def prompt_symbols(prompt: bytes, *, sentinels: bool) -> NDArray[np.int64]:
    """``<bos> <raw> prompt`` as ids (method, section 7), or ``<bos> prompt`` without sentinels.

    The empty prompt is the prefix alone: the model then starts a document of its own.
    """
    prefix = np.array(opening(Format.RAW, sentinels=sentinels), dtype=np.int64)
    return np.concatenate([prefix, raw_symbols(prompt)])
