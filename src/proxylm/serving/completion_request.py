"""What a client may ask ``/v1/completions``: OpenAI's parameters, in bytes instead of tokens.

A prompt is text (its UTF-8 bytes are read), a list of integers 0 to 255 (the bytes themselves, in
the place of OpenAI's token ids), or a list of either. ``""``, ``[[]]`` or no prompt at all is the
empty prompt: the model starts a document of its own. ``max_tokens`` and ``usage`` count bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import from_json

from proxylm.config import Config
from proxylm.serving.api_errors import ApiError
from proxylm.serving.limits import (
    MAX_ALTERNATIVES,
    MAX_CHOICES,
    MAX_NAME_CHARACTERS,
    MAX_SCORED_BYTES,
    MAX_STOP_BYTES,
    MAX_STOP_STRINGS,
    MAX_TEMPERATURE,
    ServingLimits,
)

Parameters = TypeVar("Parameters", bound=Config)

_NEUTRAL_VALUES = {
    "frequency_penalty": "0",
    "presence_penalty": "0",
    "best_of": "1",
    "suffix": '""',
    "logit_bias": "{}",
    "stream_options.include_obfuscation": "false",
}
"""What is taken of parameters whose effect is not supported, as JSON."""


class StreamOptions(Config):
    """OpenAI's ``stream_options``.

    Attributes:
        include_usage: a last chunk without choices carries ``usage``.
        include_obfuscation: false alone is supported.
    """

    model_config = ConfigDict(strict=True)

    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class JsonSchemaFormat(Config):
    """OpenAI's ``response_format.json_schema``.

    Attributes:
        name, description: taken and not used.
        definition: the schema, ``schema`` for clients.
        strict: taken and not used: the output always satisfies the schema.
    """

    model_config = ConfigDict(strict=True, serialize_by_alias=True)

    name: str = ""
    description: str | None = None
    definition: dict[str, Any] = Field(default={}, alias="schema")
    strict: bool | None = None


class ResponseFormat(Config):
    """OpenAI's ``response_format``.

    Attributes:
        type: ``text`` is free, ``json_object`` any JSON object.
        json_schema: for the type of that name.
    """

    model_config = ConfigDict(strict=True)

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema goes with the type json_schema, and only with it")
        return self

    @property
    def schema_definition(self) -> dict[str, Any] | None:
        """What the output's JSON has to satisfy; None where anything may come."""
        if self.json_schema is not None:
            return self.json_schema.definition
        return {"type": "object"} if self.type == "json_object" else None


class GenerationParameters(Config):
    """What completions and chats share; a key that is ``null`` has its default.

    Attributes:
        model: the served model's name.
        temperature: 0 is greedy.
        top_p: only the most probable symbols whose total reaches it are drawn.
        n: completions of each prompt; completion ``i`` draws as sample number ``i``.
        seed: the same seed gives the same bytes; None draws a fresh one for each prompt.
        stop: a completion ends before the first of these.
        response_format: the output is JSON, or anything.
        regex, grammar: the output matches a regular expression, or is a sentence of a grammar.
        read_as: how the model reads the prompt, where the server has several ways.
        stream: answer in server-sent events as bytes become certain.
        stream_options: see ``StreamOptions``.
        user: taken and not used.
        frequency_penalty, presence_penalty: 0 alone is supported.
        logit_bias: the empty object alone is supported.
    """

    model_config = ConfigDict(strict=True, validate_default=False)

    model: str = Field(max_length=MAX_NAME_CHARACTERS)
    temperature: float = Field(default=1.0, ge=0, le=MAX_TEMPERATURE)
    top_p: float = Field(default=1.0, gt=0, le=1)
    n: int = Field(default=1, ge=1, le=MAX_CHOICES)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: tuple[bytes, ...] = ()
    response_format: ResponseFormat | None = None
    regex: str | None = None
    grammar: str | None = None
    read_as: str | None = Field(default=None, max_length=MAX_NAME_CHARACTERS)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    user: str | None = None
    frequency_penalty: float = Field(default=0.0, ge=0, le=0)
    presence_penalty: float = Field(default=0.0, ge=0, le=0)
    logit_bias: dict[str, Any] = Field(default={}, max_length=0)

    @field_validator("stop", mode="before")
    @classmethod
    def _read_stops(cls, value: Any) -> tuple[bytes, ...]:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError("expected text or a list of texts")
        if len(texts) > MAX_STOP_STRINGS:
            raise ValueError(f"at most {MAX_STOP_STRINGS} stop strings")
        stops = tuple(text.encode() for text in texts)
        if not all(0 < len(stop) <= MAX_STOP_BYTES for stop in stops):
            raise ValueError(f"a stop string has 1 to {MAX_STOP_BYTES} bytes")
        return stops

    @model_validator(mode="after")
    def _satisfies_one_thing(self) -> Self:
        if len(self.structures) > 1:
            raise ValueError("give one of response_format, regex and grammar")
        return self

    @property
    def structures(self) -> dict[str, dict[str, Any]]:
        """What the output has to satisfy, by the parameter that says so: one at most."""
        schema = self.response_format and self.response_format.schema_definition
        given = {
            "response_format": ("json-schema", "definition", schema),
            "regex": ("regex", "pattern", self.regex),
            "grammar": ("grammar", "text", self.grammar),
        }
        return {
            name: {"kind": kind, key: value}
            for name, (kind, key, value) in given.items()
            if value is not None
        }


class CompletionRequest(GenerationParameters):
    """The parameters of one completion request.

    Attributes:
        prompt: one or several prompts, as bytes.
        max_tokens: most new bytes of each completion; None, of a chat: all the room there is.
        logprobs: with each byte its log-probability, and those of this many alternatives.
        echo: the text, and the log-probabilities, begin with the prompt's.
        best_of, suffix: 1 and the empty text alone are supported.
    """

    prompt: tuple[bytes, ...] = (b"",)
    max_tokens: int | None = Field(default=16, ge=0)
    logprobs: int | None = Field(default=None, ge=0, le=MAX_ALTERNATIVES)
    echo: bool = False
    best_of: int = Field(default=1, ge=1, le=1)
    suffix: Literal[""] = ""

    @field_validator("prompt", mode="before")
    @classmethod
    def _read_prompts(cls, value: Any) -> tuple[bytes, ...]:
        if isinstance(value, str):
            return (value.encode(),)
        if not isinstance(value, list) or not value:
            raise ValueError("expected text, a list of bytes (0 to 255), or a list of either")
        if _is_integer(value[0]):
            return (_bytes_of(value),)
        return tuple(one.encode() if isinstance(one, str) else _bytes_of(one) for one in value)

    @property
    def sequence_count(self) -> int:
        """Completions of all prompts."""
        return len(self.prompt) * self.n

    @property
    def scores_prompts(self) -> bool:
        """Whether the prompts' bytes are shown with log-probabilities."""
        return self.echo and self.logprobs is not None


def parse_completion_request(body: bytes, limits: ServingLimits) -> CompletionRequest:
    """Read a request's body and hold it against the server's limits.

    Raises:
        ApiError: 400 for what is no JSON, 422 for parameters of a wrong type or out of their
            range.
    """
    request = read_parameters(CompletionRequest, body)
    require_within(request, limits)
    return request


def require_within(request: CompletionRequest, limits: ServingLimits) -> None:
    """Hold a request against the server's limits.

    Raises:
        ApiError: 422, which names the parameter.
    """
    longest = limits.max_length_bytes
    if request.max_tokens is not None and request.max_tokens > longest:
        raise ApiError(422, f"max_tokens: at most {longest} bytes here", param="max_tokens")
    if request.sequence_count > limits.max_sequences:
        message = f"n: prompts times n is at most {limits.max_sequences} here"
        raise ApiError(422, message, param="n")
    scored = sum(map(len, request.prompt)) * request.n
    if request.scores_prompts and scored > MAX_SCORED_BYTES:
        message = f"echo: with logprobs, of prompts times n at most {MAX_SCORED_BYTES} bytes"
        raise ApiError(422, message, param="echo")


def require_room(
    request: CompletionRequest,
    lengths: Sequence[int],
    limits: ServingLimits,
    *,
    counted: str = "bytes",
) -> None:
    """Refuse prompts that leave no room for what is to be written.

    Args:
        request: asks for it.
        lengths: of each prompt, as the model reads it.
        limits: the server's.
        counted: what the lengths count, for the message.

    Raises:
        ApiError: 400.
    """
    longest = limits.max_length_bytes
    least = 1 if request.max_tokens is None else request.max_tokens
    if max(lengths) + least > longest:
        raise ApiError(
            400,
            f"prompt: {max(lengths)} {counted} and max_tokens {least} are more than "
            f"the {longest} {counted} that one sequence may have here",
            param="prompt",
            code="context_length_exceeded",
        )


def read_parameters(kind: type[Parameters], body: bytes) -> Parameters:
    """Read the parameters of any request from its body; a key that is ``null`` is left out.

    Raises:
        ApiError: 400 for what is no JSON, 422 for parameters of a wrong type or out of range.
    """
    try:
        values = from_json(body)
    except ValueError as error:
        raise ApiError(400, f"the body is no JSON: {error}", code="malformed_json") from None
    if not isinstance(values, dict):
        raise ApiError(422, "the body must be a JSON object")
    given = {key: value for key, value in values.items() if value is not None}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise _first_mistake(error) from None


def _first_mistake(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(map(str, first["loc"]))[:200]
    key = "".join(c if c.isprintable() else "\ufffd" for c in path)  # a client's, in one line
    if first["type"] == "extra_forbidden":
        return ApiError(422, f"{key}: there is no such parameter", param=key)
    if key in _NEUTRAL_VALUES:
        message = f"{key}: only {_NEUTRAL_VALUES[key]} is supported; leave it out"
        return ApiError(422, message, param=key)
    message = first["msg"].removeprefix("Value error, ")
    return ApiError(422, f"{key}: {message}", param=key)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _bytes_of(values: Any) -> bytes:
    if isinstance(values, list) and all(
        _is_integer(value) and 0 <= value < 256 for value in values
    ):
        return bytes(values)
    raise ValueError(
        "a prompt is text or a list of bytes (0 to 255); ids of a tokenizer are not taken, "
        "/tokenize gives the bytes of a text"
    )
