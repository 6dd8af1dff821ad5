"""What a ``tokenizer.json`` says: its parts, and the bytes that its token strings stand for.

The library works on text; a compressor must account for bytes. Three ways of writing bytes as
token strings exist: the byte-level alphabet (one printable character per byte), ``<0xNN>``
fallback tokens, and plain text with a stand-in for the space.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from proxylm.errors import DamagedFileError
from proxylm.symbols import BYTE_COUNT

SPACE_STAND_IN = "▁"
BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


def byte_alphabet() -> dict[str, int]:
    """The byte-level alphabet: character -> byte. Printable bytes stand for themselves.

    The other 68, in order, are the characters from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(BYTE_COUNT) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }


ALPHABET = byte_alphabet()
CHARACTER_OF_BYTE = {byte: character for character, byte in ALPHABET.items()}


def spell(data: bytes) -> str:
    """Bytes in the byte-level alphabet, as token strings are written.

    >>> spell(b" a")
    'Ġa'
    """
    return "".join(CHARACTER_OF_BYTE[byte] for byte in data)


@dataclass(frozen=True)
class TokenizerSpecification:
    """A parsed ``tokenizer.json``; ``origin`` is where it came from, for messages."""

    data: dict[str, Any]
    origin: str

    @classmethod
    def parse(cls, text: bytes, origin: str) -> TokenizerSpecification:
        """Parse a file's bytes.

        Raises:
            DamagedFileError: it is no tokenizer; names ``origin``.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DamagedFileError(f"{origin}: not readable as JSON ({error})") from None
        if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
            raise DamagedFileError(f"{origin}: not a tokenizer (no 'model')")
        return cls(data, origin)

    @property
    def model(self) -> dict[str, Any]:
        """The part that holds vocabulary and merges."""
        return self.data["model"]

    @property
    def added_tokens(self) -> list[dict[str, Any]]:
        """Tokens that are matched in the text before the model sees it."""
        return self.data.get("added_tokens") or []

    def for_encoding(self) -> str:
        """The tokenizer without what would change or add to a document: JSON text.

        Truncation, padding and the post-processor (which adds special tokens) go, and dropout,
        which would make the symbols random.
        """
        changes = {"truncation": None, "padding": None, "post_processor": None}
        return json.dumps(self.data | changes | {"model": self.model | {"dropout": None}})

    def model_vocabulary(self) -> dict[str, int]:
        """Token string -> id of the model, without added tokens."""
        vocabulary = self.model.get("vocab", {})
        if isinstance(vocabulary, list):
            return {piece: index for index, (piece, _) in enumerate(vocabulary)}
        return vocabulary

    @cached_property
    def is_byte_level(self) -> bool:
        """Whether token strings are written in the byte-level alphabet."""
        return "ByteLevel" in self._kinds("pre_tokenizer") | self._kinds("normalizer")

    def _kinds(self, stage: str) -> set[str]:
        return {component["type"] for component in components(self.data.get(stage))}

    @cached_property
    def _stands_in_for_space(self) -> bool:
        replaces = any(
            component["type"] == "Replace" and component.get("content") == SPACE_STAND_IN
            for component in components(self.data.get("normalizer"))
        )
        return replaces or "Metaspace" in self._kinds("pre_tokenizer") | self._kinds("decoder")

    def spelled(self, token: str) -> bytes:
        """The bytes that a token string of the model stands for."""
        if self.is_byte_level:
            try:
                return bytes([ALPHABET[character] for character in token])
            except KeyError:
                return token.encode(errors="replace")
        byte = BYTE_TOKEN.fullmatch(token) if self.model.get("byte_fallback") else None
        if byte:
            return bytes([int(byte[1], 16)])
        return (token.replace(SPACE_STAND_IN, " ") if self._stands_in_for_space else token).encode()


def components(stage: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """A stage of the pipeline (or None) and, for sequences, the parts it is made of."""
    if stage is None:
        return
    yield stage
    for key in ("pretokenizers", "normalizers", "decoders"):
        for part in stage.get(key, ()):
            yield from components(part)
