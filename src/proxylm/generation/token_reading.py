"""A tokenizer proxy read as tokens: the same prompt through ``<compressed>``, text out.

The method's token-level inference (method, section 7): the compressor turns
the prompt into symbols, the model continues ``<bos> <compressed> C(prompt)`` in symbols, and the
compressor spells them. Lossy compressors cannot be read so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from proxylm.compressors.contract import Compressor
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding import Completion, complete, decode
from proxylm.generation.decoding_row import ByteDelta
from proxylm.generation.options import SymbolOptions
from proxylm.generation.request import SymbolRequest
from proxylm.scoring.readings import reading_of


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
        self.scoring = reading_of(model, compressor)
        self.model = model
        self.compressor = compressor

    def complete(
        self, prompts: Sequence[bytes], options: SymbolOptions, samples: Sequence[int]
    ) -> list[Completion]:
        """As ``ByteModel.complete``, by options that count symbols."""
        return complete(self.model.module, self._requests(prompts, options, samples))

    def deltas(self, prompt: bytes, options: SymbolOptions) -> Iterator[ByteDelta]:
        """As ``complete`` for one prompt, bytes as soon as they are certain."""
        return decode(self.model.module, self._requests([prompt], options, samples=[0]))

    def _requests(
        self, prompts: Sequence[bytes], options: SymbolOptions, samples: Sequence[int]
    ) -> list[SymbolRequest]:
        symbols = self.compressor.compress(prompts)
        return [
            SymbolRequest(prompt=one, compressor=self.compressor, options=options, sample=sample)
            for one, sample in zip(symbols, samples, strict=True)
        ]
