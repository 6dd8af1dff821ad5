"""A tokenizer proxy read as tokens: the same prompt through ``<compressed>``, text out.

The method's token-level inference (method, section 7): the compressor turns
the prompt into symbols, the model continues ``<bos> <compressed> C(prompt)`` in symbols, and the
compressor spells them. Lossy compressors cannot be read so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache

import numpy as np

from proxylm.compressors.contract import Compressor
from proxylm.errors import UsageError
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding import Completion, complete, decode
from proxylm.generation.decoding_row import ByteDelta
from proxylm.generation.next_bytes import Cover, ExactBytes
from proxylm.generation.options import SymbolOptions
from proxylm.generation.prompt_ends import Spellings
from proxylm.generation.request import SymbolRequest
from proxylm.generation.sampling import draw, uniform
from proxylm.inputs import as_documents
from proxylm.scoring.prompts import open_prompt
from proxylm.scoring.read_as import TOKENS, PromptEnd
from proxylm.scoring.readings import reading_of
from proxylm.symbols import COMPRESSED_OFFSET


class TokenReading:
    """A model with the compressor it was trained with.

    Attributes:
        name: as ``--read-as`` says it.
        model: the model.
        compressor: a reversible one.
        scoring: how the model scores text in the same form.

    Raises:
        UsageError: the compressor is lossy, or not the one that the model was trained with.
    """

    name = TOKENS

    def __init__(self, model: ByteModel, compressor: Compressor) -> None:
        self.scoring = reading_of(model, compressor)
        self.model = model
        self.compressor = compressor

    def require_end(self, prompt_end: PromptEnd) -> None:
        """Refuse a way to read a prompt's end that the compressor does not allow.

        Raises:
            UsageError: prompts are to be healed or covered, and its symbols spell no bytes of
                their own.
        """
        needs_bytes = prompt_end in (PromptEnd.HEAL, PromptEnd.EXACT)
        if needs_bytes and self.compressor.spellings is None:
            done = "healed" if prompt_end is PromptEnd.HEAL else "covered"
            raise UsageError(
                f"prompts are {done} token by token, and symbols of '{self.compressor.kind}' spell "
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
        return complete(self.model.module, self.requests(prompts, options, samples))

    def deltas(self, prompt: bytes, options: SymbolOptions) -> Iterator[ByteDelta]:
        """As ``complete`` for one prompt, bytes as soon as they are certain."""
        return decode(self.model.module, self.requests([prompt], options, samples=[0]))

    def requests(
        self, prompts: Sequence[bytes], options: SymbolOptions, samples: Sequence[int]
    ) -> list[SymbolRequest]:
        """What ``complete`` has decoded; errors are its."""
        self.require_end(options.prompt_end)
        covers_of = lru_cache(maxsize=1)(self._covers)  # samples of a prompt follow each other
        requests = []
        for prompt, sample in zip(as_documents(prompts, kind="prompt"), samples, strict=True):
            if options.prompt_end is PromptEnd.EXACT and prompt:
                requests.append(self._covering(prompt, covers_of(prompt), options, sample))
            else:
                requests.append(self._request(prompt, options, sample))
        return requests

    def with_specials(
        self, prompt: bytes, specials: Mapping[bytes, int], options: SymbolOptions
    ) -> SymbolRequest:
        """A prompt in which what spells a special token is that token; its end is kept.

        ``specials`` are symbols of the compressor by what they spell. Errors are those of
        ``complete``.
        """
        spelled = b"|".join(re.escape(one) for one in sorted(specials, key=len, reverse=True))
        parts = re.split(b"(" + spelled + b")", prompt) if specials else [prompt]
        symbols = [
            np.array([specials[part]])
            if part in specials
            else self.scoring.read(part).ids - COMPRESSED_OFFSET
            for part in parts
            if part
        ]
        return SymbolRequest(
            prompt=np.concatenate([np.empty(0, dtype=np.int64), *symbols]).astype(np.uint32),
            compressor=self.compressor,
            options=options,
        )

    def _covers(self, prompt: bytes) -> list[Cover]:
        return ExactBytes(self.model.module, self.scoring, self._spellings).covers(prompt)

    def _covering(
        self, prompt: bytes, covers: Sequence[Cover], options: SymbolOptions, sample: int
    ) -> SymbolRequest:
        """One of the prompt's covers, drawn as symbols are; the last of its symbols is written."""
        logs = np.array([cover.log_probability for cover in covers], dtype=np.float32)
        # The number of the first new symbol, which is then decided.
        number = uniform(options.seed, sample, 0)
        cover = covers[draw(logs, options.temperature, options.top_p, number)]
        return SymbolRequest(
            prompt=np.array(cover.tokens, dtype=np.uint32),
            compressor=self.compressor,
            options=options,
            sample=sample,
            end=prompt[cover.length :],
            first=cover.last,
            spellings=self._spellings,
        )

    def _request(self, prompt: bytes, options: SymbolOptions, sample: int) -> SymbolRequest:
        prompt_end = options.prompt_end if prompt else PromptEnd.KEEP  # nothing has no end
        opened = open_prompt(self.scoring, prompt, prompt_end)
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
