"""How a trained model is read, as commands and settings say it in plain values."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import model_validator

from proxylm.config import Config

BYTES, TOKENS, MIXED = "bytes", "tokens", "mixed"


class PromptEnd(StrEnum):
    """What a model reads of a prompt's end (``scoring.prompts``); the rest it writes again."""

    STRIP = "strip"  # all but the trailing white space
    KEEP = "keep"  # the prompt as it is given
    HEAL = "heal"  # all but the last token, whose bytes the first new tokens must spell
    EXACT = "exact"  # in every way in which tokens can cover it


DEFAULT_ENDS = {BYTES: PromptEnd.KEEP, TOKENS: PromptEnd.STRIP, MIXED: PromptEnd.KEEP}
"""By how the model is read. A tokenizer merges a prompt's trailing white space with what follows,
so that tokens of a prompt that keeps it are tokens that training never showed (paper, D.11)."""


class ReadAs(Config):
    """What a model's input and output are taken for.

    Attributes:
        read_as: how the model reads: bytes, tokens (its compressor's symbols), mixed (what comes
            before in symbols, its end and what follows in bytes), or the name of a view of its
            training data.
        compressor: the model's compressor, where its symbols are read. (default: its training
            data's)
        prompt_end: how a prompt ends: without its trailing white space, as it is, or without its
            last token; what is not read is written again. Or exact: in all ways in which tokens
            can cover it, by their probability. (default: strip for tokens, keep for bytes)
    """

    read_as: str = BYTES
    compressor: str | None = None
    prompt_end: PromptEnd | None = None

    @model_validator(mode="after")
    def _ends_in_bytes(self) -> Self:
        if self.read_as == MIXED and self.prompt_end in (PromptEnd.HEAL, PromptEnd.EXACT):
            raise ValueError(
                f"--prompt-end {self.prompt_end} is about tokens at a prompt's end, which is bytes "
                "with --read-as mixed: keep or strip it"
            )
        return self
