"""The value that crosses from the loader to the model: packed contexts as integer arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """``B`` packed contexts of ``N`` symbols for a model with ``H`` heads.

    Attributes:
        inputs: int32 ``[B, N]``, ids of the shared vocabulary.
        targets: int32 ``[B, N, H]``; head ``k`` at position ``i`` wants the symbol at
            ``i + 1 + k``, or ``IGNORED_TARGET`` where that trains nothing.
        segment_ids: int32 ``[B, N]``, numbers the attention segments inside a context from 0,
            non-decreasing; attention never crosses a change.
        position_ids: int32 ``[B, N]``, restarts at 0 with each attention segment.
        contexts: int64 ``[B]``, the contexts' numbers in the order of training.
    """

    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]
    segment_ids: NDArray[np.int32]
    position_ids: NDArray[np.int32]
    contexts: NDArray[np.int64]
