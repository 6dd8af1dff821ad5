"""Small deterministic byte distributions: cheap, peaked enough for long windows, full of ties."""

from __future__ import annotations

import numpy as np

RUN_BYTES = b"\x00 a"
"""Bytes that like to go on where a window starts with them, so that some have 256 bytes."""
RUN_PROBABILITY = 0.993
CLASS_COUNT = 8
TOTAL = 1 << 16
RARE_BYTES = slice(200, 210)
"""Bytes that hardly start a window: their frequency is the floor."""


def _row(seed: int, sharpness: float) -> np.ndarray:
    weights = np.random.default_rng(seed).gumbel(size=256) * sharpness
    weights[np.frombuffer(b" aeiou\n\x00\xc3", np.uint8)] += 2.0
    weights[np.frombuffer(RUN_BYTES, np.uint8)] += 2.0
    weights[RARE_BYTES] -= 20.0
    row = np.exp(weights - weights.max())
    return row / row.sum()


class FakeLM:
    """A Markov chain on the classes of the last byte and of the position's parity, with runs.

    Args:
        seed: which chain.
        noise: relative noise of all but the canonical rows, drawn anew for every call.
    """

    def __init__(self, seed: int = 0, *, noise: float = 0.0) -> None:
        self.fingerprint = f"fake-{seed}"
        self.noise = noise
        self.calls = 0
        self.rows_given = 0
        self._random = np.random.default_rng(seed)
        self._rows = np.stack([_row(seed * 1000 + i, 1.0) for i in range(CLASS_COUNT)])
        self._start = _row(seed * 1000 + 999, 2.0)

    def canonical(self, string: bytes) -> np.ndarray:
        values = np.frombuffer(string, np.uint8).astype(np.int64)
        rows = np.empty((len(string) + 1, 256))
        rows[0] = self._start
        rows[1:] = self._rows[(values + 3 * (np.arange(len(values)) % 2)) % CLASS_COUNT]
        if string and string[0] in RUN_BYTES:
            run = len(string) - len(string.lstrip(string[:1]))
            rows[1 : run + 1] *= 1 - RUN_PROBABILITY
            rows[1 : run + 1, string[0]] += RUN_PROBABILITY
        return rows

    def probabilities(self, strings):
        self.calls += 1
        self.rows_given += sum(len(string) + 1 for string in strings)
        return [self._noisy(self.canonical(string)) for string in strings]

    def next_probabilities(self, strings):
        self.calls += 1
        self.rows_given += len(strings)
        return self._noisy(np.stack([self._last(string) for string in strings]))

    def _last(self, string: bytes) -> np.ndarray:
        # What follows depends on the last bytes and the parity of the length alone.
        is_run = string and not string.strip(string[:1])
        return self.canonical(string[-2 + len(string) % 2 :] if is_run else string)[-1]

    def _noisy(self, rows: np.ndarray) -> np.ndarray:
        if not self.noise:
            return rows
        rows = rows * (1 + self.noise * self._random.uniform(-1, 1, rows.shape))
        return rows / rows.sum(axis=-1, keepdims=True)


class TiedLM(FakeLM):
    """As ``FakeLM``, with every probability exactly where its floor is decided."""

    def canonical(self, string: bytes) -> np.ndarray:
        rows = super().canonical(string)
        scales = np.full((len(rows), 1), TOTAL - 256)
        scales[0] = TOTAL - 512
        counts = np.floor(rows * scales)
        tops = counts.argmax(axis=1)
        counts[np.arange(len(rows)), tops] += (scales - counts.sum(axis=1, keepdims=True))[:, 0]
        return counts / scales
