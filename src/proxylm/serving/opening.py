"""How the model reads the prompts of a request, whether they have room, what the output must be."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from proxylm.errors import ProxylmError, UsageError
from proxylm.generation.options import GenerationOptions, SymbolOptions, generation_options
from proxylm.generation.request import ByteRequest, DecodingRequest, SymbolRequest
from proxylm.generation.structured_output.contract import Allowed, StructuredOutputState
from proxylm.generation.token_reading import TokenReading
from proxylm.scoring.read_as import BYTES, MIXED, TOKENS
from proxylm.scoring.readings import MixedReading, RawReading
from proxylm.serving.api_errors import ApiError
from proxylm.serving.chat_template import ChatTemplate
from proxylm.serving.completion_request import CompletionRequest, require_room
from proxylm.serving.service import ServedReading, Service
from proxylm.symbols import BYTE_COUNT

_logger = logging.getLogger(__name__)

_COUNTED = {BYTES: "bytes", MIXED: "bytes and symbols", TOKENS: "symbols"}
"""What the lengths of prompts count, by how they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPrompt:
    """A prompt as the model reads it.

    Attributes:
        request: to be given each choice's own options; those that it has are no one's.
        length: of what is read, without what stands before every prompt.
    """

    request: ByteRequest | SymbolRequest
    length: int

    def asked(
        self, request: CompletionRequest, *, longest: int, seed: int, sample: int
    ) -> DecodingRequest:
        """The decoding of one choice; ``longest`` is the most that a sequence may have."""
        new = longest - self.length if request.max_tokens is None else request.max_tokens
        drawing: dict[str, Any] = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": seed,
            "stop": request.stop,
        }
        if isinstance(self.request, SymbolRequest):
            options = SymbolOptions(max_new_symbols=new, **drawing)
            return replace(self.request, options=options, sample=sample)
        drawing["max_new_bytes"] = new
        in_bytes = self.request.options.model_copy(update=drawing)
        return replace(self.request, options=in_bytes, sample=sample)


class _ServedBytes(ByteRequest):
    """One whose structured output cannot end what others have decoded."""

    def structured(self) -> StructuredOutputState | None:
        """See the base class."""
        state = super().structured()
        return None if state is None else _Guarded(state)


class _Guarded(StructuredOutputState):
    """A structure that allows nothing more once it is beyond its engine: the output ends there."""

    def __init__(self, state: StructuredOutputState) -> None:
        self._state = state

    def allowed(self, bytes_left: int) -> Allowed:
        """See the base class."""
        try:
            return self._state.allowed(bytes_left)
        except UsageError as error:
            _logger.warning("a completion ends early: %s", error)
            return Allowed(np.zeros(BYTE_COUNT, dtype=bool), may_end=False)

    def advance(self, value: int) -> None:
        """See the base class; what it cannot take is told when it is asked next."""
        with contextlib.suppress(UsageError):
            self._state.advance(value)


async def open_prompts(
    request: CompletionRequest, service: Service, *, chat: ChatTemplate | None = None
) -> list[OpenedPrompt]:
    """Each prompt as it is read, within the limits; ``chat`` wrote it, if it is a conversation.

    Raises:
        ApiError: 400 for a prompt that is too long as it is read, or that cannot be read so; 422
            for a way to read that the server does not have, for a structure that is none, and for
            what does not go together.
    """
    reading = service.reading_named(request.read_as)
    _require_what_is_there(request, reading)
    options = GenerationOptions(drafter=service.drafter)
    if request.structures:
        options = await asyncio.to_thread(_structured, request, options)
    if reading.name == BYTES:
        opened = _opened(request, reading, options, chat)
    else:  # in a thread: to compress takes long
        opened = await asyncio.to_thread(_opened, request, reading, options, chat)
    lengths = [one.length for one in opened]
    require_room(request, lengths, service.limits, counted=_COUNTED[reading.name])
    return opened


def _require_what_is_there(request: CompletionRequest, reading: ServedReading) -> None:
    if request.scores_prompts and isinstance(reading, MixedReading):
        message = "echo: with logprobs, not where prompts are read mixed: symbols have none"
        raise ApiError(422, message, param="echo")
    if isinstance(reading, TokenReading):
        wanted = {"logprobs": request.logprobs is not None, **request.structures}
        for name in (name for name, given in wanted.items() if given):
            message = f"{name}: not where tokens are read: it is about single bytes"
            raise ApiError(422, message, param=name)


def _structured(request: CompletionRequest, options: GenerationOptions) -> GenerationOptions:
    [(name, value)] = request.structures.items()
    try:
        return generation_options(drafter=options.drafter, structured_output=value)
    except ProxylmError as error:
        raise ApiError(422, f"{name}: {error}", param=name) from None


def _opened(
    request: CompletionRequest,
    reading: ServedReading,
    options: GenerationOptions,
    chat: ChatTemplate | None,
) -> list[OpenedPrompt]:
    try:
        if isinstance(reading, TokenReading):
            found = _as_tokens(request, reading, chat)
            return [OpenedPrompt(request=one, length=len(one.prompt)) for one in found]
        return [_byte_prompt(request, reading, prompt, options) for prompt in request.prompt]
    except ProxylmError as error:
        raise ApiError(400, f"prompt: {error}", param="prompt") from None


def _as_tokens(
    request: CompletionRequest, reading: TokenReading, chat: ChatTemplate | None
) -> list[SymbolRequest]:
    options = SymbolOptions()
    if chat is None:
        return reading.requests(request.prompt, options, [0] * len(request.prompt))
    return [reading.with_specials(prompt, chat.specials, options) for prompt in request.prompt]


def _byte_prompt(
    request: CompletionRequest, reading: RawReading, prompt: bytes, options: GenerationOptions
) -> OpenedPrompt:
    prefix, covered = reading.opened(prompt)
    read = _ServedBytes(
        prompt=prompt,
        options=options,
        logprobs=request.logprobs,
        score_prompt=request.scores_prompts,
        prefix=prefix,
        covered=covered,
    )
    length = len(prefix) - len(reading.prefix) + len(prompt) - covered
    return OpenedPrompt(request=read, length=length)
