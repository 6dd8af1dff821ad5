"""What a caller can ask of a generation: limits, temperature, top-p, seed and stop strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, field_validator

from proxylm.config import Config, validate_config
from proxylm.errors import UsageError

DEFAULT_MAX_NEW_BYTES = 256

StopString = Annotated[bytes, Field(min_length=1)]


class GenerationOptions(Config):
    """Validated options of one generation (method, section 7).

    Attributes:
        max_new_bytes: most bytes generated after the prompt, those of a stop string included.
        temperature: logits are divided by it before sampling; 0 is greedy (ties: lowest symbol).
        top_p: only the fewest most probable symbols whose total reaches ``top_p`` can be drawn.
        seed: with the sample number and the position, all that the randomness depends on.
        stop: generation ends where one of these is complete; it is not part of the result.
    """

    max_new_bytes: int = Field(default=DEFAULT_MAX_NEW_BYTES, ge=0)
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)
    stop: tuple[StopString, ...] = ()

    @field_validator("stop", mode="before")
    @classmethod
    def _reject_a_bare_string(cls, value: object) -> object:
        # A lone b"ab" is a sequence too, and would silently become the stops b"a" and b"b".
        if isinstance(value, str | bytes):
            raise ValueError("give a list of byte strings, not one string")
        return value


def generation_options(
    *,
    max_new_bytes: int = DEFAULT_MAX_NEW_BYTES,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    stop: Sequence[bytes] = (),
) -> GenerationOptions:
    """The options as a validated value; ``GenerationOptions`` says what each one means.

    Raises:
        UsageError: a value is out of its range or not a number; the message names the option.
    """
    if any(isinstance(text, str) for text in stop):
        raise UsageError("generation: stop: stop strings are bytes, write b'...'")
    values = {
        "max_new_bytes": max_new_bytes,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "stop": stop if isinstance(stop, bytes) else tuple(stop),
    }
    return validate_config(GenerationOptions, values, origin="generation")
