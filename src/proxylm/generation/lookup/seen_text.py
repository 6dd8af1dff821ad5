"""A row's text as a drafter reads it: indexed, so that its latest contexts are found at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from proxylm.generation.lookup.kernels import ORDERS, draft_tree, index_places

FIRST_CAPACITY = 1 << 10
MOST_DEPTH = 64
"""Most bytes that are drafted one after another."""
KEPT_BYTES = 1 << 16
"""Of a longer text, drafts look at these last bytes, and at no more than twice as many."""


class SeenText:
    """Prompt and output so far.

    About 70 bytes of memory for a byte of text, up to twice ``KEPT_BYTES``.

    Args:
        text: what is known at first.
    """

    def __init__(self, text: bytes) -> None:
        self._restart(np.frombuffer(text[-KEPT_BYTES:], dtype=np.uint8))

    def append(self, value: int) -> None:
        """Add the byte that follows."""
        if self._end == self._capacity:
            self._restart(self._text[: self._end][-KEPT_BYTES:])
        self._text[self._end] = value
        self._end += 1
        index_places(self._text, self._end - 1, self._end, self._newest, self._earlier)

    def draft(
        self,
        heads: Float32[np.ndarray, "heads byte=256"],
        *,
        depth: int,
        nodes: int,
        least_probability: float,
    ) -> tuple[Int64[np.ndarray, " drafted"], Int64[np.ndarray, " drafted"]]:
        """Bytes that may follow, and each one's parent as ``Draft`` has them.

        Args:
            heads: what a model's further heads say of the first of them.
            depth: most bytes one after another.
            nodes: most bytes in all.
            least_probability: leave out what is reached with less.
        """
        values, parents = np.empty((2, nodes), dtype=np.int64)
        count = draft_tree(
            self._text,
            self._end,
            self._newest,
            self._earlier,
            heads,
            min(depth, MOST_DEPTH),
            least_probability,
            values,
            parents,
        )
        return values[:count], parents[:count]

    def _restart(self, text: NDArray[np.uint8]) -> None:
        """Index the text anew, with room for as much again."""
        self._end = len(text)
        self._capacity = max(FIRST_CAPACITY, 1 << (2 * self._end - 1).bit_length())
        self._text = np.zeros(self._capacity + MOST_DEPTH, dtype=np.uint8)
        self._text[: self._end] = text
        self._newest = np.zeros((len(ORDERS), self._capacity), dtype=np.int32)
        self._earlier = np.zeros((self._capacity, len(ORDERS)), dtype=np.int32)
        index_places(self._text, 0, self._end, self._newest, self._earlier)
