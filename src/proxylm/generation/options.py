"""What a caller can ask of a generation: limits, temperature, top-p, seed, stops, constraints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict, Unpack

from pydantic import Field, field_validator

from proxylm.config import Config, validate_config
from proxylm.errors import UsageError
from proxylm.generation.structured_output.contract import AllOf, ConstraintState
from proxylm.generation.structured_output.guided import Guide
from proxylm.generation.structured_output.utf8 import Utf8State
from proxylm.inputs import as_documents

DEFAULT_MAX_NEW_BYTES = 256
DEFAULT_MAX_NEW_SYMBOLS = 64

StopString = Annotated[bytes, Field(min_length=1)]


class DrawingOptions(Config):
    """How symbols are chosen and where their bytes end, whatever the symbols are.

    Attributes:
        temperature: logits are divided by it before sampling; 0 is greedy (ties: lowest symbol).
        top_p: draw from the fewest most probable symbols whose total reaches it.
        seed: the same seed gives the same output: with the sample number and the position, all
            that the randomness depends on.
        stop: end where this string is complete; it is not part of the result.
    """

    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)
    stop: tuple[StopString, ...] = ()

    @field_validator("stop", mode="before")
    @classmethod
    def _take_bytes_alone(cls, value: object) -> tuple[bytes, ...]:
        # A lone b"ab" is a sequence too, and would silently become the stops b"a" and b"b".
        try:
            return tuple(as_documents(value, kind="stop string"))
        except UsageError as error:
            raise ValueError(str(error)) from None


class GenerationOptions(DrawingOptions):
    """Validated options of one generation of raw bytes (method, section 7).

    Attributes:
        max_new_bytes: most bytes generated after the prompt, those of a stop string included.
        utf8: ``strict``: every prefix of the output begins a valid text, and the whole is one
            (unless a stop string ends it inside a character).
        guide: a regular expression, JSON schema or grammar that the output satisfies; where the
            limit comes first, it is the beginning of what would.
    """

    max_new_bytes: int = Field(default=DEFAULT_MAX_NEW_BYTES, ge=0)
    utf8: Literal["any", "strict"] = "any"
    guide: Guide | None = None

    @property
    def constrains(self) -> bool:
        """Whether the output must satisfy something."""
        return self.start_constraint(b"") is not None

    def start_constraint(self, prompt: bytes) -> ConstraintState | None:
        """The state of what the output must satisfy; None where anything may follow."""
        states: list[ConstraintState] = []
        if self.utf8 == "strict":
            states.append(Utf8State(before=prompt))
        if self.guide is not None:
            states.append(self.guide.start())
        return AllOf(states) if states else None


class SymbolOptions(DrawingOptions):
    """Options of one generation of a compressor's symbols (method, section 7).

    Attributes:
        max_new_symbols: most symbols generated after the prompt, where tokens are read.
    """

    max_new_symbols: int = Field(default=DEFAULT_MAX_NEW_SYMBOLS, ge=0)


class GenerationKeywords(TypedDict, total=False):
    """The fields of ``GenerationOptions`` as keyword arguments; what is left out is its default."""

    max_new_bytes: int
    temperature: float
    top_p: float
    seed: int
    stop: Sequence[bytes] | None
    utf8: Literal["any", "strict"]
    guide: Guide | None


def generation_options(**keywords: Unpack[GenerationKeywords]) -> GenerationOptions:
    """The options as a validated value; ``GenerationOptions`` says what each one means.

    Raises:
        UsageError: a value is out of its range or not a number; the message names the option.
    """
    stop = keywords.get("stop")
    values = keywords | {"stop": () if stop is None else stop}
    return validate_config(GenerationOptions, values, origin="generation")
