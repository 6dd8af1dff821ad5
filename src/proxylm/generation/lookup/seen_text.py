"""A row's text as a drafter reads it: indexed, so that its latest contexts are found at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from proxylm.generation.lookup import MOST_DEPTH
from proxylm.generation.lookup.kernels import ORDERS, draft_tree, index_places, predict
from proxylm.symbols import BYTE_COUNT

FIRST_CAPACITY = 1 << 10
KEPT_BYTES = 1 << 16
"""Of a longer text, drafts look at these last bytes, and at no more than twice as many."""

FIRST_SHARE = 0.1
"""The say that a head has at first."""
FORGETTING = 0.1
"""How much of a head's share goes back to the first with every byte: texts change."""
LEAST_LIKELY = 1e-3
"""Nobody is taken to be less sure of a byte: one surprise must not silence him."""


class SeenText:
    """Prompt and output so far.

    65 bytes of memory for each byte that there is room for: up to four times the text, and no more
    than twice ``KEPT_BYTES`` (8.5 MB).

    Args:
        text: what is known at first.
    """

    def __init__(self, text: bytes) -> None:
        self._heads = np.empty((0, BYTE_COUNT), dtype=np.float32)  # of the newest draft
        self._shares = np.empty(0)
        self._predicted = np.empty(BYTE_COUNT)
        self._since_draft = 0
        self._restart(np.frombuffer(text[-KEPT_BYTES:], dtype=np.uint8))

    def append(self, value: int) -> None:
        """Add the byte that follows.

        Of the text and the head that foresaw it, who was surer of it has more say the next time.
        """
        if self._since_draft < len(self._heads):
            self._weigh(self._since_draft, value)
        self._since_draft += 1
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
        if len(self._shares) != len(heads):
            self._shares = np.full(len(heads), FIRST_SHARE)
        self._heads, self._since_draft = heads, 0
        values, parents = np.empty((2, nodes), dtype=np.int64)
        count = draft_tree(
            self._text,
            self._end,
            self._newest,
            self._earlier,
            heads,
            self._shares,
            min(depth, MOST_DEPTH),
            least_probability,
            values,
            parents,
        )
        return values[:count], parents[:count]

    def _weigh(self, level: int, value: int) -> None:
        """Bayes' rule for who is right about the bytes of a level, with some forgetting."""
        predict(self._text, self._end, self._newest, self._earlier, self._predicted)
        by_text = max(float(self._predicted[value]), LEAST_LIKELY)
        by_head = max(float(self._heads[level, value]), LEAST_LIKELY)
        share = self._shares[level]
        share = share * by_head / (share * by_head + (1 - share) * by_text)
        self._shares[level] = share + FORGETTING * (FIRST_SHARE - share)

    def _restart(self, text: NDArray[np.uint8]) -> None:
        """Index the text anew, with room for as much again."""
        self._end = len(text)
        self._capacity = max(FIRST_CAPACITY, 1 << (2 * self._end - 1).bit_length())
        self._text = np.zeros(self._capacity + MOST_DEPTH, dtype=np.uint8)
        self._text[: self._end] = text
        self._newest = np.zeros((len(ORDERS), self._capacity), dtype=np.int32)
        self._earlier = np.zeros((self._capacity, len(ORDERS)), dtype=np.int32)
        index_places(self._text, 0, self._end, self._newest, self._earlier)
