"""The chat template that an imported model brought along: from messages to the text of a prompt.

Templates are programs in Jinja's language, written by whoever published the model. They run in
Jinja's sandbox and see the messages and a few helpers, those that transformers gives them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from proxylm.errors import DamagedFileError, needing_extra, one_line
from proxylm.interchange.source import SOURCE_FOLDER, source_of
from proxylm.serving.api_errors import ApiError

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATE_FILE = "chat_template.jinja"
_TOKENIZER_FILE = "tokenizer_config.json"


class ChatTemplate:
    """A template, ready to be filled in.

    Args:
        text: of the template.
        turn_end: what the model writes where its turn ends; None where nothing is known.
        specials: symbols of the model's tokenizer by what they spell: tokens that mean something
            in the text, where tokens are read.
        origin: the file, for messages.

    Raises:
        DamagedFileError: it is no template.
    """

    def __init__(
        self,
        text: str,
        *,
        turn_end: str | None,
        specials: Mapping[bytes, int] | None = None,
        origin: str,
    ) -> None:
        self.turn_end = turn_end
        self.specials = specials or {}
        environment = _environment()
        from jinja2 import TemplateSyntaxError

        try:
            self._template = environment.from_string(text)
        except TemplateSyntaxError as error:
            raise DamagedFileError(f"{origin}: no chat template ({one_line(error)})") from None

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The conversation as text, up to where the assistant is to speak.

        Raises:
            ApiError: 400, the template refuses the messages.
        """
        from jinja2 import TemplateError

        try:
            # <bos> stands before every prompt by itself.
            return self._template.render(
                messages=list(messages),
                add_generation_prompt=True,
                bos_token="",
                eos_token=self.turn_end or "",
            )
        except (TemplateError, TypeError, ValueError) as error:
            message = f"messages: the model's chat template refuses them ({one_line(error)[:300]})"
            raise ApiError(400, message, param="messages") from None


def chat_template_of(path: Path) -> ChatTemplate | None:
    """The template of an imported model, or of the one that a run started from; None without.

    Raises:
        DamagedFileError: its files are there and cannot be read.
    """
    source = source_of(path)
    if source is None:
        return None
    origin = f"{path}: {SOURCE_FOLDER}/{_TOKENIZER_FILE}"
    try:
        settings = json.loads(source.settings.get(_TOKENIZER_FILE, b"{}"))
        own = source.settings.get(_TEMPLATE_FILE)
        text = _text_of(settings.get("chat_template")) if own is None else own.decode()
        specials = _specials(settings.get("added_tokens_decoder"))
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise DamagedFileError(f"{origin}: cannot be read ({one_line(error)})") from None
    if text is None:
        return None
    return ChatTemplate(
        text,
        turn_end=_token(settings.get("eos_token")),
        specials=specials,
        origin=origin,
    )


def _text_of(given: Any) -> str | None:
    """Files have one template, or several with names."""
    if isinstance(given, list):
        return next((str(one["template"]) for one in given if one["name"] == "default"), None)
    return given if isinstance(given, str) else None


def _token(given: Any) -> str | None:
    """A token of the settings: its text, or an object with it."""
    found = given.get("content") if isinstance(given, Mapping) else given
    return found if isinstance(found, str) and found else None


def _specials(given: Any) -> dict[bytes, int]:
    """The special ones of a tokenizer's added tokens, which the settings list by their ids."""
    listed = given if isinstance(given, Mapping) else {}
    return {
        str(token["content"]).encode(): int(number)
        for number, token in listed.items()
        if isinstance(token, Mapping) and token.get("special") and token.get("content")
    }


def _environment() -> Environment:
    with needing_extra("a chat template", "serve"):
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> NoReturn:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _to_json(value: Any, indent: int | None = None) -> str:
    """JSON as it is: Jinja's own would escape what means something in HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)
