"""What the coder asks of a language model: the next byte's distribution after any string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class ByteDistribution(Protocol):
    """A distribution over the 256 bytes after every string, the empty one first.

    ``probabilities`` and ``next_probabilities`` may differ in their last bits with what is
    computed together; ``canonical`` may not, and decides where those bits would matter.
    """

    @property
    def fingerprint(self) -> str:
        """128-bit name of everything that determines the probabilities."""
        ...

    def probabilities(self, strings: Sequence[bytes]) -> list[NDArray[np.float64]]:
        """Float64 ``[len + 1, 256]`` per string: row ``i`` follows its first ``i`` bytes."""
        ...

    def next_probabilities(self, strings: Sequence[bytes]) -> NDArray[np.float64]:
        """Float64 ``[n, 256]``: what follows each whole string."""
        ...

    def canonical(self, string: bytes) -> NDArray[np.float64]:
        """As ``probabilities`` of one string, computed alone and always the same way."""
        ...
