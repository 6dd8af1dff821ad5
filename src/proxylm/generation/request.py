"""What is asked of the decoder: one sequence to continue, in bytes or in a compressor's symbols.

Stop strings, streams and results are about bytes, whatever the symbols are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt32

from proxylm.compressors.contract import Compressor
from proxylm.errors import DataError
from proxylm.generation.drafts import RowDrafter
from proxylm.generation.options import DrawingOptions, GenerationOptions, SymbolOptions
from proxylm.generation.output_format import OutputFormat
from proxylm.generation.prompt_ends import AfterPrompt, Given, Healing, Spellings
from proxylm.generation.structured_output.contract import StructuredOutputState
from proxylm.symbols import BYTE_COUNT, COMPRESSED_OFFSET, RAW_OFFSET, Format, opening


def raw_symbols(data: bytes) -> Int64[np.ndarray, " bytes"]:
    """The bytes' ids."""
    return np.frombuffer(data, dtype=np.uint8).astype(np.int64) + RAW_OFFSET


def prompt_symbols(prompt: bytes, *, sentinels: bool) -> Int64[np.ndarray, " symbols"]:
    """``<bos> <raw> prompt`` as ids (method, section 7), or ``<bos> prompt`` without sentinels.

    The empty prompt is the prefix alone: the model then starts a document of its own.
    """
    prefix = np.array(opening(Format.RAW, sentinels=sentinels), dtype=np.int64)
    return np.concatenate([prefix, raw_symbols(prompt)])


@dataclass(frozen=True, kw_only=True)
class DecodingRequest(ABC):
    """One sequence to decode.

    Attributes:
        options: this sequence's own.
        sample: the number its randomness depends on beside the seed and the position.
        logprobs: with each byte its log-probability, and those of so many alternatives; None: no
            log-probabilities.
    """

    options: DrawingOptions
    sample: int = 0
    logprobs: int | None = None

    @abstractmethod
    def symbols(self, *, sentinels: bool) -> Int64[np.ndarray, " symbols"]:
        """The ids that the model reads first, never none."""

    @abstractmethod
    def output(self, *, sentinels: bool) -> OutputFormat:
        """What it may write."""

    @abstractmethod
    def speller(self) -> Callable[[int], bytes]:
        """Says which bytes each further symbol adds (without its format's offset); a fresh one."""

    def structured(self) -> StructuredOutputState | None:
        """What its bytes must satisfy beside; a fresh state, or None."""
        return None

    def drafter(self) -> RowDrafter | None:
        """Drafts its next bytes, a fresh one; None: it writes one symbol per pass."""
        return None

    @property
    def scored_bytes(self) -> int:
        """How many bytes at the end of ``symbols`` are handed out too, with log-probabilities."""
        return 0


@dataclass(frozen=True, kw_only=True)
class ByteRequest(DecodingRequest):
    """Bytes after a prompt of bytes: ``<bos> <raw> prompt`` goes on.

    Attributes:
        prompt: raw bytes.
        options, sample, logprobs: see ``DecodingRequest``.
        end: what the prompt goes on with and the model does not read; no output. Such a request
            has no log-probabilities.
        score_prompt: the prompt's bytes come first, with their log-probabilities.
        prefix: ids that the prompt follows in place of ``<bos> <raw>``: those of a translation
            prompt (``<bos> <compressed> z </compressed> <raw>``), or of one that is read mixed.
        covered: how many of the prompt's first bytes the prefix stands for; they are not read
            again, and cannot be scored.
    """

    prompt: bytes
    options: GenerationOptions
    end: bytes = b""
    score_prompt: bool = False
    prefix: Int64[np.ndarray, " prefix"] | None = None
    covered: int = 0

    def symbols(self, *, sentinels: bool) -> Int64[np.ndarray, " symbols"]:
        """See the base class."""
        if self.prefix is None:
            return prompt_symbols(self.prompt, sentinels=sentinels)
        return np.concatenate([self.prefix, raw_symbols(self.prompt[self.covered :])])

    def output(self, *, sentinels: bool) -> OutputFormat:
        """See the base class."""
        return OutputFormat(Format.RAW, sentinels, BYTE_COUNT)

    def speller(self) -> Callable[[int], bytes]:
        """See the base class."""
        return AfterPrompt(lambda value: bytes([value]), self.end)

    def structured(self) -> StructuredOutputState | None:
        """See the base class."""
        return self.options.start_structured(self.prompt)

    def drafter(self) -> RowDrafter | None:
        """See the base class."""
        drafter = self.options.drafter
        return None if drafter is None else drafter.start(self.prompt)

    @property
    def scored_bytes(self) -> int:
        """See the base class."""
        return len(self.prompt) if self.score_prompt else 0


@dataclass(frozen=True, kw_only=True)
class SymbolRequest(DecodingRequest):
    """A compressor's symbols after a prompt in them: ``<bos> <compressed> prompt`` goes on.

    Attributes:
        prompt: the compressor's symbols.
        compressor: the reversible one that the model was trained with.
        options, sample: see ``DecodingRequest``.
        end: what the prompt goes on with and its symbols do not cover; no output.
        dropped: symbols of the prompt that are not read; the first new ones must spell their bytes.
        first: the first new symbol, where it is decided.
        spellings: the compressor's; None where neither is.
    """

    prompt: UInt32[np.ndarray, " symbols"]
    compressor: Compressor
    options: SymbolOptions
    end: bytes = b""
    dropped: Sequence[int] = ()
    first: int | None = None
    spellings: Spellings | None = None

    def symbols(self, *, sentinels: bool) -> Int64[np.ndarray, " symbols"]:
        """See the base class."""
        prefix = opening(Format.COMPRESSED, sentinels=sentinels)
        return np.concatenate([prefix, self.prompt.astype(np.int64) + COMPRESSED_OFFSET])

    def output(self, *, sentinels: bool) -> OutputFormat:
        """See the base class."""
        return OutputFormat(Format.COMPRESSED, sentinels, self.compressor.symbol_count)

    def speller(self) -> Callable[[int], bytes]:
        """See the base class."""
        return AfterPrompt(CompressedSpeller(self.compressor, self.prompt).spell, self.end)

    def structured(self) -> StructuredOutputState | None:
        """See the base class."""
        if self.spellings is None:
            return None
        if self.first is not None:
            return Given(self.spellings, self.first)
        return Healing(self.spellings, self.spellings.spell(self.dropped))


class CompressedSpeller:
    """A compressor's output after a prompt in its symbols.

    What the prompt's symbols spell is no output. Symbols that end inside a unit of the compressor
    (half of a token's bytes) spell nothing until it is complete.
    """

    def __init__(self, compressor: Compressor, prompt: UInt32[np.ndarray, " symbols"]) -> None:
        self._compressor = compressor
        self._symbols = prompt.tolist()
        self._known = self._spelled() or b""

    def spell(self, symbol: int) -> bytes:
        """The bytes that are certain with this further symbol."""
        self._symbols.append(symbol)
        text = self._spelled()
        if text is None or not text.startswith(self._known):
            return b""
        added, self._known = text[len(self._known) :], text
        return added

    def _spelled(self) -> bytes | None:
        try:
            [text] = self._compressor.decompress([np.array(self._symbols, dtype=np.uint32)])
        except DataError:
            return None
        return text
