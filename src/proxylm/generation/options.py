"""What a caller can ask of a generation: limits, drawing, stops, structured output, drafts."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from proxylm.config import Config, validate_config
from proxylm.errors import UsageError
from proxylm.generation.drafts import Drafter
from proxylm.generation.structured_output.contract import AllOf, StructuredOutputState
from proxylm.generation.structured_output.guidance import StructuredOutput
from proxylm.generation.structured_output.utf8 import Utf8State
from proxylm.inputs import as_documents
from proxylm.scoring.read_as import BYTES, DEFAULT_ENDS, TOKENS, PromptEnd

DEFAULT_MAX_NEW_BYTES = 256

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

    @property
    @abstractmethod
    def max_new(self) -> int:
        """Most symbols generated after the prompt, those of a stop string included."""

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
        drafter: drafts several bytes for each forward pass (``generation.drafts``); None: a pass
            yields one. That changes the time and not the bytes.
        utf8: ``strict``: every prefix of the output begins a valid text, and the whole is one
            (unless a stop string ends it inside a character).
        structured_output: a regular expression, JSON schema or grammar that the output satisfies;
            where the limit comes first, it is the beginning of what would.
        prompt_end: ``keep``: the prompt is read as it is given; ``strip``: without its trailing
            white space, which the model may write again (``scoring.prompts``); ``heal`` and
            ``exact``: as ``keep``, for there is no byte that begins with another.
    """

    max_new_bytes: int = Field(default=DEFAULT_MAX_NEW_BYTES, ge=0)
    drafter: Drafter | None = None
    utf8: Literal["any", "strict"] = "any"
    structured_output: StructuredOutput | None = None
    prompt_end: PromptEnd = DEFAULT_ENDS[BYTES]

    @model_validator(mode="after")
    def _satisfies_from_the_prompt_on(self) -> Self:
        if self.prompt_end is PromptEnd.STRIP and self.is_structured:
            raise ValueError(
                "a stripped prompt takes no structured output, which begins where the prompt ends"
            )
        return self

    @property
    def max_new(self) -> int:
        """See the base class."""
        return self.max_new_bytes

    @property
    def is_structured(self) -> bool:
        """Whether the output must satisfy something."""
        return self.start_structured(b"") is not None

    def start_structured(self, prompt: bytes) -> StructuredOutputState | None:
        """The state of what the output must satisfy; None where anything may follow."""
        states: list[StructuredOutputState] = []
        if self.utf8 == "strict":
            states.append(Utf8State(before=prompt))
        if self.structured_output is not None:
            states.append(self.structured_output.start())
        return AllOf(states) if states else None


class SymbolOptions(DrawingOptions):
    """Options of one generation of a compressor's symbols (method, section 7).

    Attributes:
        max_new_symbols: most symbols generated after the prompt, where tokens are read.
        prompt_end: what is read of the prompt's end: ``strip``, ``keep``, ``heal`` or ``exact``
            (``scoring.prompts``). What is written again counts as generated.
    """

    max_new_symbols: int = Field(default=64, ge=0)
    prompt_end: PromptEnd = DEFAULT_ENDS[TOKENS]

    @property
    def max_new(self) -> int:
        """See the base class."""
        return self.max_new_symbols


def generation_options(**options: Any) -> GenerationOptions:
    """The options as a validated value; ``GenerationOptions`` says what each one means.

    Raises:
        UsageError: there is no such option, or its value is of a wrong type or out of its range;
            the message names it.
    """
    return validate_config(GenerationOptions, options, origin="generation")
