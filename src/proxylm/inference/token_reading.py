"""A tokenizer proxy read as tokens: the same prompt through ``<compressed>``, text out.

The method's token-level inference (paper §3.6; docs/method.md, section 7): the compressor turns
the prompt into symbols, the model continues ``<bos> <compressed> C(prompt)`` in symbols, and the
compressor spells them. Lossy compressors cannot be read so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import Compressor
from proxylm.evaluation.bits_per_byte import opening
from proxylm.evaluation.readings import CompressedReading
from proxylm.evaluation.scoring import require_compressor
from proxylm.inference.byte_model import ByteModel
from proxylm.inference.decoding import Completion
from proxylm.inference.symbol_decoding import (
    CompressedSpeller,
    OutputFormat,
    SymbolOptions,
    complete_symbols,
)
from proxylm.symbols import COMPRESSED_OFFSET, Format


class TokenReading:
    """A model with the compressor it was trained with.

    Attributes:
        model: the model.
        compressor: a reversible one.
        scoring: how the model scores text in the same form.

    Raises:
        UsageError: the compressor is lossy, or not the one that the model was trained with.
    """

    def __init__(self, model: ByteModel, compressor: Compressor) -> None:
        self.scoring = CompressedReading(compressor)
        require_compressor(
            model.module,
            model.compressor_fingerprint,
            compressor.symbol_count,
            compressor.fingerprint,
        )
        self.model = model
        self.compressor = compressor

    def complete(
        self, prompts: Sequence[bytes], options: SymbolOptions, samples: Sequence[int]
    ) -> list[Completion]:
        """The bytes that each prompt is continued with, and why they end.

        Args:
            prompts: raw bytes.
            options: the same for all, counted in symbols.
            samples: per prompt, the number its randomness depends on beside seed and position.
        """
        symbols = self.compressor.compress(prompts)
        start = opening(self.model.module, Format.COMPRESSED)
        return complete_symbols(
            self.model.module,
            [np.concatenate([start, _ids(one)]) for one in symbols],
            OutputFormat(self.model.module, Format.COMPRESSED, self.compressor.symbol_count),
            [CompressedSpeller(self.compressor, one) for one in symbols],
            options,
            samples,
        )


def _ids(symbols: NDArray[np.uint32]) -> NDArray[np.int64]:
    return symbols.astype(np.int64) + COMPRESSED_OFFSET
