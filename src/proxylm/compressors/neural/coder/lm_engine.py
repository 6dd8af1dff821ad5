"""What the engines that read the byte LM have in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.neural.byte_lm.distribution import ByteDistribution
from proxylm.compressors.neural.coder.contract import Engine
from proxylm.compressors.neural.coder.frequencies import FrequencySource
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.coder.windows import window_of


class LmEngine(Engine):
    """Base of the engines that ask a byte LM; they share frequencies and windows.

    Args:
        distribution: the byte LM.
        settings: of the coder.
    """

    def __init__(self, distribution: ByteDistribution, settings: CoderSettings) -> None:
        self.settings = settings
        self._frequencies = FrequencySource(distribution, settings.window_bits)
        self._window = window_of(settings)


def segments_of(raw: NDArray[np.uint8], lengths: NDArray[np.uint32]) -> list[bytes]:
    """The segments as byte strings."""
    whole = raw.tobytes()
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    return [whole[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]
