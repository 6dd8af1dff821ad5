"""What the page may ask: texts in base64, since a text is any bytes, and bounded numbers."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer

from proxylm.config import Config
from proxylm.inspector.context_views import CONTEXTS_PER_STEP, STEPS

MAX_TEXT_BYTES = 1 << 14
MAX_BODY_BYTES = 4 * MAX_TEXT_BYTES
"""Two texts in base64, and what else is asked."""
MAX_OPEN_BODIES = 32
MAX_NEW_BYTES = 256
MAX_SHOWN_CONTEXT = 1024
MAX_NAME_CHARACTERS = 512


def _decoded(value: Any) -> Any:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


Text = Annotated[
    bytes,
    BeforeValidator(_decoded),
    PlainSerializer(_encoded, when_used="json"),
    Field(max_length=MAX_TEXT_BYTES),
]
Name = Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]


class _Asked(Config):
    model_config = ConfigDict(strict=True)


class ViewsAsked(_Asked):
    """Every view of a text, compared with a reference if there is one."""

    text: Text
    reference: Text | None = None


class DeletionsAsked(_Asked):
    """What each deleted character would move, around a byte of the text."""

    text: Text
    place: int = Field(ge=0, le=MAX_TEXT_BYTES)


class CollisionsAsked(_Asked):
    """The strings that a compressor cannot tell from a segment."""

    compressor: Name
    segment: Text


class ReadingAsked(_Asked):
    """A text as a model reads it."""

    model: Name
    read_as: Name
    text: Text


class ContinuationAsked(ReadingAsked):
    """How it goes on."""

    num_bytes: int = Field(ge=1, le=MAX_NEW_BYTES)


class DraftsAsked(ContinuationAsked):
    """How it goes on, several bytes to a pass."""

    drafter: Name


class ContextAsked(_Asked):
    """A packed context; ``model`` names the one whose attention is shown."""

    store: Name
    view: Name | None = None
    mixture: Name
    step: int = Field(ge=0, lt=STEPS)
    number: int = Field(ge=0, lt=CONTEXTS_PER_STEP)
    context: int = Field(ge=16, le=MAX_SHOWN_CONTEXT)
    model: Name | None = None
