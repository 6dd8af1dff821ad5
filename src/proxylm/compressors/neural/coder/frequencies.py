"""From float64 probabilities to integer frequencies: the one place where floats enter a code.

A row of frequencies has total 2^16. With ``m`` the least frequency allowed,
``f_x = m + ⌊p_x · (2^16 − 256 m)⌋``, and the most probable byte (the lowest, among equals) takes
what is left over. Floats that differ in their last bits, because other strings were computed
beside them or on another device, give the same row unless a floor or the choice of the most
probable byte hangs on those bits. Such rows are *uncertain*; they come from the distribution of
their string computed alone (``ByteDistribution.canonical``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from proxylm.errors import DataError
from proxylm.symbols import BYTE_COUNT

TOTAL_BITS = 16
TOTAL = 1 << TOTAL_BITS

UNCERTAIN_PROBABILITY = 1e-12
"""Probabilities this close to a decision are uncertain; float64 passes differ by about 3e-15."""

Frequencies = NDArray[np.uint32]
"""Rows of frequencies, uint32 ``[..., 256]``, each row of total 2^16."""

CANONICAL_ROWS_KEPT = 4096


class ByteDistribution(Protocol):
    """What the coder asks of a language model: the 256 bytes' distribution after any string.

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


def root_floor(window_bits: int | None) -> int:
    """The least frequency of a window's first byte, so that every single byte fits in a window.

    >>> root_floor(16), root_floor(32), root_floor(None)
    (2, 2, 2)
    """
    return 2 if window_bits is None else max(2, 1 << max(0, TOTAL_BITS + 1 - window_bits))


def quantize(
    probabilities: NDArray[np.float64], floor: int
) -> tuple[Frequencies, NDArray[np.bool_]]:
    """Frequencies of rows of probabilities, and which rows are uncertain.

    Args:
        probabilities: float64 ``[n, 256]``.
        floor: least frequency of a byte.

    Returns:
        uint32 ``[n, 256]`` and bool ``[n]``.

    Raises:
        DataError: a row holds no distribution (the model's weights are damaged).
    """
    if not (np.isfinite(probabilities).all() and (probabilities >= 0).all()):
        raise DataError("the byte LM gives no distribution (NaN or infinity); train it again")
    scale = TOTAL - BYTE_COUNT * floor
    scaled = probabilities * scale
    frequencies = np.floor(scaled).astype(np.int64) + floor
    left_over = TOTAL - frequencies.sum(axis=1)
    if (left_over < 0).any() or (left_over > BYTE_COUNT).any():
        raise DataError("the byte LM's probabilities do not add up to 1")
    top = probabilities.argmax(axis=1)
    frequencies[np.arange(len(top)), top] += left_over
    return frequencies.astype(np.uint32), _uncertain(probabilities, scaled, scale)


def _uncertain(
    probabilities: NDArray[np.float64], scaled: NDArray[np.float64], scale: int
) -> NDArray[np.bool_]:
    nearest = np.rint(scaled)
    # Nothing lies below 0, so values near it all have floor 0.
    near_step = (np.abs(scaled - nearest) < UNCERTAIN_PROBABILITY * scale) & (nearest > 0)
    largest = np.partition(probabilities, BYTE_COUNT - 2, axis=1)[:, -2:]
    return near_step.any(axis=1) | (largest[:, 1] - largest[:, 0] < UNCERTAIN_PROBABILITY)


class FrequencySource:
    """Frequencies after any string of a window, from a distribution; all engines share it.

    Args:
        distribution: the byte LM.
        window_bits: bits of a window, or None: the floor of its first byte depends on them.
    """

    def __init__(self, distribution: ByteDistribution, window_bits: int | None) -> None:
        self.distribution = distribution
        self._root_floor = root_floor(window_bits)
        self._canonical: dict[bytes, Frequencies] = {}

    def rows(self, strings: Sequence[bytes]) -> list[Frequencies]:
        """Uint32 ``[len + 1, 256]`` per string: after none of its bytes, after one, ..."""
        probabilities = self.distribution.probabilities(strings)
        return [
            self._quantized(rows, [string[:stop] for stop in range(len(string) + 1)])
            for string, rows in zip(strings, probabilities, strict=True)
        ]

    def rows_after(self, strings: Sequence[bytes]) -> Frequencies:
        """Uint32 ``[n, 256]``: after each whole string."""
        return self._quantized(self.distribution.next_probabilities(strings), strings)

    def _quantized(
        self, probabilities: NDArray[np.float64], prefixes: Sequence[bytes]
    ) -> Frequencies:
        frequencies, uncertain = quantize(probabilities, floor=1)
        for row, prefix in enumerate(prefixes):
            if not prefix:
                frequencies[row], uncertain[row] = self._canonical_row(b""), False
        for row in np.flatnonzero(uncertain).tolist():
            frequencies[row] = self._canonical_row(prefixes[row])
        return frequencies

    def _canonical_row(self, prefix: bytes) -> Frequencies:
        kept = self._canonical.get(prefix)
        if kept is None:
            floor = 1 if prefix else self._root_floor
            kept = quantize(self.distribution.canonical(prefix)[-1:], floor)[0][0]
            if len(self._canonical) >= CANONICAL_ROWS_KEPT:
                self._canonical.clear()
            self._canonical[prefix] = kept
        return kept
