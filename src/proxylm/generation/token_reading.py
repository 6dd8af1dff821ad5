"""A tokenizer proxy read as tokens: the same prompt through ``<compressed>``, text out.

The method's token-level inference (method, section 7): the compressor turns
the prompt into symbols, the model continues ``<bos> <compressed> C(prompt)`` in symbols, and the
compressor spells them. Lossy compressors cannot be read so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from proxylm.compressors.contract import Compressor
from proxylm.errors import UsageError
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding import Completion, complete, decode
from proxylm.generation.decoding_row import ByteDelta
from proxylm.generation.options import SymbolOptions
from proxylm.generation.prompt_ends import Spellings
from proxylm.generation.request import SymbolRequest
from proxylm.inputs import as_documents
from proxylm.scoring.prompts import open_prompt
from proxylm.scoring.read_as import PromptEnd
from proxylm.scoring.readings import reading_of
from proxylm.symbols import COMPRESSED_OFFSET


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

    def require_end(self, prompt_end: PromptEnd) -> None:
        """Refuse a way to read a prompt's end that the compressor does not allow.

        Raises:
            UsageError: prompts are to be healed, and its symbols spell no bytes of their own.
        """
        if prompt_end is PromptEnd.HEAL and self.compressor.spellings is None:
            raise UsageError(
                f"prompts are healed token by token, and symbols of '{self.compressor.kind}' spell "
                "no bytes of their own: strip or keep the prompt's end"
            )

    def complete(
        self, prompts: Sequence[bytes], options: SymbolOptions, samples: Sequence[int]
    ) -> list[Completion]:
        """As ``ByteModel.complete``, by options that count symbols.

        Raises:
            UsageError: a prompt is no bytes, or ``require_end``.
            DataError: a prompt has no exact form in the compressor.
            DamagedWeightsError: the model's output is not a number.
        """
        return complete(self.model.module, self._requests(prompts, options, samples))

    def deltas(self, prompt: bytes, options: SymbolOptions) -> Iterator[ByteDelta]:
        """As ``complete`` for one prompt, bytes as soon as they are certain."""
        return decode(self.model.module, self._requests([prompt], options, samples=[0]))

    def _requests(
        self, prompts: Sequence[bytes], options: SymbolOptions, samples: Sequence[int]
    ) -> list[SymbolRequest]:
        self.require_end(options.prompt_end)
        return [
            self._request(prompt, options, sample)
            for prompt, sample in zip(as_documents(prompts, kind="prompt"), samples, strict=True)
        ]

    def _request(self, prompt: bytes, options: SymbolOptions, sample: int) -> SymbolRequest:
        opened = open_prompt(self.scoring, prompt, options.prompt_end)
        return SymbolRequest(
            prompt=(opened.ids - COMPRESSED_OFFSET).astype(np.uint32),
            compressor=self.compressor,
            options=options,
            sample=sample,
            end=opened.end,
            dropped=(opened.dropped - COMPRESSED_OFFSET).tolist(),
            spellings=self._spellings if len(opened.dropped) else None,
        )

    @cached_property
    def _spellings(self) -> Spellings:
        spellings = self.compressor.spellings
        assert spellings is not None, "require_end comes first"
        return Spellings(spellings)
