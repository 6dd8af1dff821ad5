"""What a client may ask ``/v1/chat/completions``: messages, which become a prompt.

The model's chat template turns them into text; from there on a chat is a completion of one prompt.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from proxylm.config import Config
from proxylm.serving.chat_template import ChatTemplate
from proxylm.serving.completion_request import (
    CompletionRequest,
    GenerationParameters,
    read_parameters,
    require_within,
)
from proxylm.serving.limits import MAX_ALTERNATIVES, MAX_NAME_CHARACTERS, ServingLimits


class ChatMessage(Config):
    """One message; keys that are ``null`` are left out.

    Attributes:
        role: the templates know ``system``, ``user`` and ``assistant``.
        content: its text; of a list of parts, which must be texts, their texts one after another.
        name: of who says it, for templates that show it.
    """

    model_config = ConfigDict(strict=True)

    role: str = Field(max_length=MAX_NAME_CHARACTERS)
    content: str = ""
    name: str | None = Field(default=None, max_length=MAX_NAME_CHARACTERS)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nothing(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: one for key, one in value.items() if one is not None}

    @field_validator("content", mode="before")
    @classmethod
    def _join_parts(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in value):
            raise ValueError("only parts of the type text are taken")
        texts = [part.get("text") for part in value]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a part of the type text has a text")
        return "".join(texts)

    def for_template(self) -> dict[str, str]:
        """As templates know it."""
        return self.model_dump(exclude_none=True)


class ChatRequest(GenerationParameters):
    """The parameters of one chat request.

    Attributes:
        messages: the conversation so far, at least one.
        max_tokens, max_completion_tokens: most new bytes; by default as many as there is room for.
        logprobs: with each byte its log-probability.
        top_logprobs: and those of this many alternatives; goes with ``logprobs``.
    """

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=0)
    max_completion_tokens: int | None = Field(default=None, ge=0)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=MAX_ALTERNATIVES)
    store: Literal[False] = False

    def as_completion(self, template: ChatTemplate, limits: ServingLimits) -> CompletionRequest:
        """The completion that answers, whose prompt is the conversation as the template writes it.

        Raises:
            ApiError: 400 for messages that the template refuses, 422 for what is beyond the
                limits.
        """
        prompt = template.render([message.for_template() for message in self.messages]).encode()
        given = self.max_completion_tokens if self.max_tokens is None else self.max_tokens
        shared = {name: getattr(self, name) for name in GenerationParameters.model_fields}
        ends = () if template.turn_end is None else (template.turn_end.encode(),)
        shared["stop"] = (*self.stop, *ends)
        request = CompletionRequest.model_construct(
            **shared,
            prompt=(prompt,),
            max_tokens=given,
            logprobs=self.top_logprobs if self.logprobs else None,
        )
        require_within(request, limits)
        return request


def parse_chat_request(body: bytes) -> ChatRequest:
    """Read a request's body.

    Raises:
        ApiError: see ``read_parameters``.
    """
    return read_parameters(ChatRequest, body)
