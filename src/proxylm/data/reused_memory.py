"""Memory for batches, used again once nobody holds the arrays that were laid in it.

The system hands out new memory page by page, at the first touch of each, which takes longer than
the writing itself. A batch that was dropped leaves its pages to the next one.
"""

from __future__ import annotations

import itertools
import math
import sys
from threading import Lock

import numpy as np
from numpy.typing import NDArray

# A loop holds one batch while the next is made, and a thread may be one step ahead.
KEPT_BLOCKS = 3


class ReusedMemory:
    """Int32 arrays cut from blocks; a block is free again when no array of it is left.

    Arrays and tensors made of a block's arrays hold it too: what anybody can still read is never
    written to.
    """

    def __init__(self) -> None:
        self._blocks: list[NDArray[np.int32]] = []
        self._lock = Lock()

    def arrays(self, shapes: list[tuple[int, ...]]) -> list[NDArray[np.int32]]:
        """Arrays with any content, one of each shape."""
        ends = list(itertools.accumulate(math.prod(shape) for shape in shapes))
        with self._lock:
            block = self._free_block(ends[-1])
            return [
                block[start:end].reshape(shape)
                for start, end, shape in zip([0, *ends], ends, shapes, strict=False)
            ]

    def _free_block(self, size: int) -> NDArray[np.int32]:
        """The first block of the size that is held here alone, or a new one."""
        for place in range(len(self._blocks)):
            # Two hold it: the list, and the argument of this very call. With a name of its own
            # there would be three, or two: Python 3.14 no longer counts an argument that has one.
            if self._blocks[place].size == size and sys.getrefcount(self._blocks[place]) <= 2:
                return self._blocks[place]
        block = np.empty(size, np.int32)
        self._blocks = [block, *self._blocks][:KEPT_BLOCKS]
        return block
