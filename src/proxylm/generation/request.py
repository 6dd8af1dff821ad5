"""What is asked of the decoder: one sequence to continue, in bytes or in a compressor's symbols."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import Compressor
from proxylm.generation.options import DrawingOptions, GenerationOptions, SymbolOptions
from proxylm.generation.output_format import OutputFormat, raw_output
from proxylm.generation.raw_text import prompt_symbols, raw_symbols
from proxylm.generation.spelling import ByteSpeller, CompressedSpeller, Speller
from proxylm.generation.structured_output.contract import ConstraintState
from proxylm.symbols import COMPRESSED_OFFSET, Format, opening


class DecodingRequest(ABC):
    """One sequence to decode.

    Attributes:
        sample: the number its randomness depends on beside the seed and the position.
        logprobs: with each byte its log-probability, and those of so many alternatives; None: no
            log-probabilities.
    """

    sample: int
    logprobs: int | None = None

    @property
    @abstractmethod
    def drawing(self) -> DrawingOptions:
        """How its symbols are chosen."""

    @property
    @abstractmethod
    def most_symbols(self) -> int:
        """How many symbols it may write."""

    @abstractmethod
    def symbols(self, *, sentinels: bool) -> NDArray[np.int64]:
        """The ids that the model reads first, never none."""

    @abstractmethod
    def output(self, *, sentinels: bool) -> OutputFormat:
        """What it may write."""

    @abstractmethod
    def speller(self) -> Speller:
        """What its symbols stand for; a fresh one."""

    @abstractmethod
    def constraint(self) -> ConstraintState | None:
        """What its bytes must satisfy beside; a fresh state, or None."""


@dataclass(frozen=True, kw_only=True)
class ByteRequest(DecodingRequest):
    """Bytes after a prompt of bytes: ``<bos> <raw> prompt`` goes on.

    Attributes:
        prompt: raw bytes.
        options: this sequence's own.
        sample, logprobs: see ``DecodingRequest``.
        prefix: int64 ``[m]``, ids that the prompt follows in place of ``<bos> <raw>``: those of a
            translation prompt (``<bos> <compressed> z </compressed> <raw>``).
    """

    prompt: bytes
    options: GenerationOptions
    sample: int = 0
    logprobs: int | None = None
    prefix: NDArray[np.int64] | None = None

    @property
    def drawing(self) -> DrawingOptions:
        """See the base class."""
        return self.options

    @property
    def most_symbols(self) -> int:
        """See the base class."""
        return self.options.max_new_bytes

    def symbols(self, *, sentinels: bool) -> NDArray[np.int64]:
        """See the base class."""
        if self.prefix is None:
            return prompt_symbols(self.prompt, sentinels=sentinels)
        return np.concatenate([self.prefix, raw_symbols(self.prompt)])

    def output(self, *, sentinels: bool) -> OutputFormat:
        """See the base class."""
        return raw_output(sentinels=sentinels)

    def speller(self) -> Speller:
        """See the base class."""
        return ByteSpeller()

    def constraint(self) -> ConstraintState | None:
        """See the base class."""
        return self.options.start_constraint(self.prompt)


@dataclass(frozen=True, kw_only=True)
class SymbolRequest(DecodingRequest):
    """A compressor's symbols after a prompt in them: ``<bos> <compressed> prompt`` goes on.

    Attributes:
        prompt: uint32 ``[m]``, the compressor's symbols.
        compressor: the reversible one that the model was trained with.
        options: this sequence's own.
        sample: see ``DecodingRequest``.
    """

    prompt: NDArray[np.uint32]
    compressor: Compressor
    options: SymbolOptions
    sample: int = 0

    @property
    def drawing(self) -> DrawingOptions:
        """See the base class."""
        return self.options

    @property
    def most_symbols(self) -> int:
        """See the base class."""
        return self.options.max_new_symbols

    def symbols(self, *, sentinels: bool) -> NDArray[np.int64]:
        """See the base class."""
        prefix = opening(Format.COMPRESSED, sentinels=sentinels)
        return np.concatenate([prefix, self.prompt.astype(np.int64) + COMPRESSED_OFFSET])

    def output(self, *, sentinels: bool) -> OutputFormat:
        """See the base class."""
        return OutputFormat(Format.COMPRESSED, sentinels, self.compressor.symbol_count)

    def speller(self) -> Speller:
        """See the base class."""
        return CompressedSpeller(self.compressor, self.prompt)

    def constraint(self) -> ConstraintState | None:
        """None: constraints are about single bytes."""
        return None
