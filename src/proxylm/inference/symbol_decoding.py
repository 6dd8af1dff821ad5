"""Decoding from any symbols: a reversible compressor's symbols as output, or bytes after a view.

``inference.decoding`` continues raw bytes after raw bytes. Here the prompt is any sequence of ids
and the output either format, for reading a tokenizer proxy as tokens (``<bos> <compressed> z``)
and for translation prompts (``<compressed> z </compressed> <raw> x``). Stop strings are looked
for in the *bytes* that the symbols spell. Short prompts' rows write while longer ones read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from proxylm.compressors.contract import Compressor
from proxylm.config import Config
from proxylm.errors import CheckpointError, DataError
from proxylm.inference.decoding import Completion, Finish
from proxylm.inference.options import StopString
from proxylm.inference.sampling import draw, greedy, uniform
from proxylm.inference.stop_strings import StopScanner
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import BYTE_COUNT, EOS, PAD, RAW_OFFSET, Format

PREFILL_SYMBOLS = 2048
ROWS_TOGETHER = 32


class SymbolOptions(Config):
    """Options of one generation, as ``GenerationOptions`` but counted in symbols.

    Attributes:
        max_new_symbols: most symbols generated after the prompt.
        temperature, top_p, seed, stop: as in ``GenerationOptions``.
    """

    max_new_symbols: int = Field(ge=0)
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)
    stop: tuple[StopString, ...] = ()


class Speller(ABC):
    """Says which bytes each further symbol of one row adds."""

    @abstractmethod
    def feed(self, symbol: int) -> bytes:
        """The bytes that are certain with this symbol (without its format's offset)."""


class ByteSpeller(Speller):
    """Raw output: each symbol is a byte."""

    def feed(self, symbol: int) -> bytes:
        """See the base class."""
        return bytes([symbol])


class CompressedSpeller(Speller):
    """A compressor's output after a prompt in its symbols.

    Symbols that end inside a unit of the compressor (half of a token's bytes) spell nothing until
    it is complete.

    Args:
        compressor: a reversible one.
        prompt: the prompt's symbols; what they spell is no output.
    """

    def __init__(self, compressor: Compressor, prompt: NDArray[np.uint32]) -> None:
        self._compressor = compressor
        self._symbols = prompt.tolist()
        self._known = self._spelled() or b""

    def feed(self, symbol: int) -> bytes:
        """See the base class."""
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


class OutputFormat:
    """What may be written: the symbols of one format and those that end it.

    Args:
        model: whose output it is.
        content_format: raw bytes or compressed symbols.
        symbol_count: of the compressor; symbols above it are never chosen.
    """

    def __init__(
        self, model: LanguageModel, content_format: Format, symbol_count: int = BYTE_COUNT
    ) -> None:
        self.offset = content_format.offset
        self.end = self.offset + symbol_count
        ends = [EOS, content_format.close] if model.config.sentinels else [EOS]
        self._forbidden = np.ones(self.end, dtype=bool)
        self._forbidden[ends] = False
        self._forbidden[self.offset :] = False

    def allowed(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits ``[end]`` with minus infinity for what must not follow."""
        return np.where(self._forbidden, np.float32(-np.inf), logits)


def complete_symbols(
    model: LanguageModel,
    prompts: Sequence[NDArray[np.int64]],
    output: OutputFormat,
    spellers: Sequence[Speller],
    options: SymbolOptions,
    samples: Sequence[int],
) -> list[Completion]:
    """Continue prompts of ids; the result for each is what it is alone, up to rounding.

    Args:
        model: any model over the shared vocabulary.
        prompts: ids ``[n_i]``, none empty.
        output: what is written.
        spellers: one per prompt, fresh.
        options: the same for all.
        samples: per prompt, the number that makes its randomness different from others'.

    Returns:
        The bytes that each continuation spells, and why it ends.
    """
    rows = [
        _Row(prompt, speller, options, sample)
        for prompt, speller, sample in zip(prompts, spellers, samples, strict=True)
    ]
    # Prompts of like length together: fewer passes in which some rows only read.
    order = sorted(rows, key=lambda row: row.pending_count)
    if options.max_new_symbols > 0:
        for start in range(0, len(order), ROWS_TOGETHER):
            _decode(model, order[start : start + ROWS_TOGETHER], output, options)
    return [row.completion() for row in rows]


def _decode(
    model: LanguageModel, rows: list[_Row], output: OutputFormat, options: SymbolOptions
) -> None:
    cache = model.new_cache(len(rows))
    device = model.lm_head.weight.device
    weight = model.lm_head.weight[: output.end]
    while any(row.finish is None for row in rows):
        room = max(1, PREFILL_SYMBOLS // len(rows))
        taken = [row.take(room) for row in rows]
        counts = np.array([len(symbols) for symbols in taken], dtype=np.int64)
        ids = np.full((len(rows), counts.max()), PAD, dtype=np.int64)
        for place, symbols in enumerate(taken):
            ids[place, : len(symbols)] = symbols
        writing = [
            place for place, row in enumerate(rows) if counts[place] and not row.pending_count
        ]
        with torch.inference_mode():
            hidden = model.step_hidden(torch.from_numpy(ids).to(device), cache, counts)
            newest = hidden[writing, counts[writing] - 1]
            logits = torch.nn.functional.linear(newest, weight).float().cpu().numpy()
        for place, row_logits in zip(writing, logits, strict=True):
            row = rows[place]
            row.accept(_choose(output.allowed(row_logits), options, row), output.offset)


def _choose(allowed: NDArray[np.float32], options: SymbolOptions, row: _Row) -> int:
    if not np.isfinite(allowed.max()):
        raise CheckpointError(
            "the model's output is not a number: its weights are damaged, or its training "
            "diverged; load an earlier checkpoint"
        )
    if options.temperature == 0:
        return greedy(allowed)
    number = uniform(options.seed, row.sample, row.generated)
    return draw(allowed, options.temperature, options.top_p, number)


class _Row:
    """One sequence on its way: symbols not yet fed, bytes spelled, what is held back."""

    def __init__(
        self, symbols: NDArray[np.int64], speller: Speller, options: SymbolOptions, sample: int
    ) -> None:
        assert len(symbols), "a prompt has at least <bos>"
        self.sample = sample
        self.generated = 0
        self.finish: Finish | None = None
        self._pending = symbols
        self._speller = speller
        self._scanner = StopScanner(options.stop)
        self._limit = options.max_new_symbols
        self._data = bytearray()

    @property
    def pending_count(self) -> int:
        """Known symbols that the model has not seen yet."""
        return len(self._pending)

    def take(self, most: int) -> NDArray[np.int64]:
        """The next known symbols, at most so many, now fed; none once the row is finished."""
        if self.finish is not None:
            return self._pending[:0]
        taken, self._pending = self._pending[:most], self._pending[most:]
        return taken

    def accept(self, symbol: int, offset: int) -> None:
        """Take the chosen symbol in; it becomes pending unless the row ends here."""
        if symbol < RAW_OFFSET:
            self.finish = Finish.END
            return
        self.generated += 1
        self._data += self._scanner.feed(self._speller.feed(symbol - offset))
        if self._scanner.stopped:
            self.finish = Finish.STOP
        elif self.generated == self._limit:
            self.finish = Finish.LIMIT
        self._pending = np.array([symbol], dtype=np.int64)

    def completion(self) -> Completion:
        """All bytes of the finished row."""
        data = bytes(self._data) + self._scanner.finish()
        return Completion(data=data, finish=self.finish or Finish.LIMIT)
