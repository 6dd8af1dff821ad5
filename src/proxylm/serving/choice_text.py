"""The text of one choice, and its log-probabilities, as bytes arrive: no character is cut in two.

Bytes of a character that is not complete wait. What is no UTF-8 is shown as U+FFFD, exactly as in
decoding the whole at once; the bytes themselves stay readable in ``logprobs.tokens``, where an
ASCII byte is its character and any other is written ``bytes:\\xe2`` (OpenAI's notation for tokens
that are no whole characters).
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxylm.generation.logprobs import ByteLogprobs
from proxylm.symbols import RAW_OFFSET, SPECIAL_NAMES

_ASCII_COUNT = 128
_LOWEST_LOGPROB = -9999.0
"""Stands for −∞, which JSON does not have (OpenAI's value)."""


@dataclass(slots=True, kw_only=True)
class TextDelta:
    """What bytes that came together add to a choice.

    Attributes:
        text: whole characters.
        logprobs: of the bytes that these characters are made of, with the offset of each byte's
            character in the choice's text; empty if they were not asked for.
        finish_reason: why the choice ends with them, in OpenAI's words; None: it goes on.
    """

    text: str
    logprobs: list[tuple[ByteLogprobs, int]] = field(default_factory=list)
    finish_reason: str | None = None

    @classmethod
    def joined(cls, deltas: Sequence[TextDelta]) -> TextDelta:
        """All of them, one after the other (in a time that grows with their length only)."""
        return cls(
            text="".join(delta.text for delta in deltas),
            logprobs=[placed for delta in deltas for placed in delta.logprobs],
            finish_reason=next((d.finish_reason for d in deltas if d.finish_reason), None),
        )


class ChoiceText:
    """Turns the bytes of one choice into text and log-probabilities that belong together."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._characters = 0
        self._waiting: list[ByteLogprobs] = []

    def feed(self, data: bytes, logprobs: Sequence[ByteLogprobs] = ()) -> TextDelta:
        """Take further bytes; ``logprobs`` has one entry for each, or none for all."""
        if not logprobs:
            return self._delta(self._decoder.decode(data))
        pairs = zip(data, logprobs, strict=True)
        return TextDelta.joined([self._feed_byte(value, entry) for value, entry in pairs])

    def finish(self, reason: str) -> TextDelta:
        """The end: a character that is still not complete is shown as U+FFFD."""
        delta = self._delta(self._decoder.decode(b"", final=True))
        delta.finish_reason = reason
        return delta

    def _feed_byte(self, value: int, entry: ByteLogprobs) -> TextDelta:
        self._waiting.append(entry)
        return self._delta(self._decoder.decode(bytes([value])))

    def _delta(self, text: str) -> TextDelta:
        """``text``, with the entries of the bytes that it is made of.

        Several bytes are of its first character alone: further ones follow where that turned out
        to be broken, and are of one byte each.
        """
        start = self._characters
        self._characters += len(text)
        count = len(self._waiting) - len(self._decoder.getstate()[0])
        made, self._waiting = self._waiting[:count], self._waiting[count:]
        of_first = count - len(text)
        placed = [(entry, start + max(0, i - of_first)) for i, entry in enumerate(made)]
        return TextDelta(text=text, logprobs=placed)


def logprobs_object(
    entries: Sequence[tuple[ByteLogprobs, int]], *, with_alternatives: bool
) -> dict[str, Any]:
    """OpenAI's ``logprobs`` of a choice, one token per byte; ``top_logprobs`` may be null."""
    return {
        "tokens": [token_name(entry.symbol) for entry, _ in entries],
        "token_logprobs": [_finite(entry.logprob) for entry, _ in entries],
        "top_logprobs": [_by_name(entry) for entry, _ in entries] if with_alternatives else None,
        "text_offset": [offset for _, offset in entries],
    }


def chat_logprobs_object(entries: Sequence[tuple[ByteLogprobs, int]]) -> dict[str, Any]:
    """OpenAI's ``logprobs`` of a choice in a chat, one token per byte."""
    return {
        "content": [
            _chat_token(entry.symbol, entry.logprob)
            | {"top_logprobs": [_chat_token(*one) for one in entry.alternatives]}
            for entry, _ in entries
        ]
    }


def _chat_token(symbol: int, logprob: float) -> dict[str, Any]:
    exact = None if symbol in SPECIAL_NAMES else [symbol - RAW_OFFSET]
    return {"token": token_name(symbol), "logprob": _finite(logprob), "bytes": exact}


def token_name(symbol: int) -> str:
    """How a byte, or a symbol that ends the text, is written among the tokens.

    >>> token_name(RAW_OFFSET + 97), token_name(RAW_OFFSET + 0xE2)
    ('a', 'bytes:\\\\xe2')
    """
    if symbol in SPECIAL_NAMES:
        return SPECIAL_NAMES[symbol]
    value = symbol - RAW_OFFSET
    return chr(value) if value < _ASCII_COUNT else f"bytes:\\x{value:02x}"


def _by_name(entry: ByteLogprobs) -> Mapping[str, float]:
    # The byte itself is always among them, as in OpenAI's answers.
    symbols = {**dict(entry.alternatives), entry.symbol: entry.logprob}
    return {token_name(symbol): _finite(value) for symbol, value in symbols.items()}


def _finite(logprob: float) -> float:
    return max(logprob, _LOWEST_LOGPROB)
