"""``/tokenize`` and its kin, as vLLM serves them: what the integers of a prompt mean.

The tokens of this server are bytes. Clients that turn texts into tokens themselves, as lm-eval's
``local-completions`` does, look for these paths first and then send the right numbers.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import ConfigDict, Field
from pydantic_core import to_json

from proxylm.config import Config
from proxylm.serving.completion_request import read_parameters
from proxylm.serving.limits import MAX_NAME_CHARACTERS
from proxylm.serving.service import Service

TOKENIZER_INFO = {
    "tokenizer_class": "bytes",
    "vocab_size": 256,
    "bos_token": None,
    "eos_token": None,
    "pad_token": None,
    "unk_token": None,
    "chat_template": None,
}
"""No special token can stand in a prompt: the server puts ``<bos> <raw>`` in front by itself."""

Byte = Annotated[int, Field(ge=0, lt=256)]


class TokenizeRequest(Config):
    """The parameters of ``/tokenize``; there are no special tokens to add."""

    model_config = ConfigDict(strict=True)

    prompt: str
    model: str | None = Field(default=None, max_length=MAX_NAME_CHARACTERS)
    add_special_tokens: bool = False


class DetokenizeRequest(Config):
    """The parameters of ``/detokenize``."""

    model_config = ConfigDict(strict=True)

    tokens: list[Byte]
    model: str | None = Field(default=None, max_length=MAX_NAME_CHARACTERS)


def tokenization_routes(service: Service) -> APIRouter:
    """The three paths; large bodies are worked on in a thread, the event loop is everybody's."""
    routes = APIRouter()
    longest = service.limits.max_length_bytes
    whole_body = Depends(service.read_body)

    @routes.get("/tokenizer_info")
    async def _tokenizer_info() -> dict[str, Any]:
        return TOKENIZER_INFO | {"model_max_length": longest}

    @routes.post("/tokenize")
    def _tokenize(body: bytes = whole_body) -> Response:
        wanted = read_parameters(TokenizeRequest, body)
        service.require_model(wanted.model)
        tokens = list(wanted.prompt.encode())
        return _json({"count": len(tokens), "max_model_len": longest, "tokens": tokens})

    @routes.post("/detokenize")
    def _detokenize(body: bytes = whole_body) -> Response:
        wanted = read_parameters(DetokenizeRequest, body)
        service.require_model(wanted.model)
        return _json({"prompt": bytes(wanted.tokens).decode("utf-8", "replace")})

    return routes


def _json(content: dict[str, Any]) -> Response:
    return Response(to_json(content), media_type="application/json")
