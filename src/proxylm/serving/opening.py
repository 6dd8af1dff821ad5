"""How the model reads the prompts of a request, as bytes or mixed, and whether they have room."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from proxylm.errors import ProxylmError
from proxylm.scoring.readings import MixedReading, RawReading
from proxylm.serving.api_errors import ApiError
from proxylm.serving.completion_request import CompletionRequest, require_room
from proxylm.serving.limits import ServingLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPrompt:
    """What the model reads before a prompt's last bytes.

    Attributes:
        prefix: int64 ``[p]``, ids.
        covered: how many of the prompt's first bytes these stand for.
    """

    prefix: Int64[np.ndarray, " prefix"]
    covered: int = 0


async def open_prompts(
    request: CompletionRequest, reading: RawReading, limits: ServingLimits
) -> list[OpenedPrompt]:
    """Each prompt as it is read, within the limits; compressed in a thread of its own.

    Raises:
        ApiError: 400 for a prompt that is too long as it is read, or that cannot be read so; 422
            where log-probabilities are asked for of bytes that are read as symbols.
    """
    if not isinstance(reading, MixedReading):
        require_room(request, list(map(len, request.prompt)), limits)
        return [OpenedPrompt(prefix=reading.prefix) for _ in request.prompt]
    if request.scores_prompts:
        message = "echo: with logprobs, not where prompts are read mixed: symbols have none"
        raise ApiError(422, message, param="echo")
    opened = await asyncio.to_thread(_compressed, request.prompt, reading)
    plain = len(reading.prefix)
    lengths = [
        len(one.prefix) - plain + len(prompt) - one.covered
        for one, prompt in zip(opened, request.prompt, strict=True)
    ]
    require_room(request, lengths, limits, counted="bytes and symbols")
    return opened


def _compressed(prompts: Sequence[bytes], reading: MixedReading) -> list[OpenedPrompt]:
    try:
        pairs = [reading.opened(prompt) for prompt in prompts]
    except ProxylmError as error:
        raise ApiError(400, f"prompt: {error}", param="prompt") from None
    return [OpenedPrompt(prefix=prefix, covered=covered) for prefix, covered in pairs]
