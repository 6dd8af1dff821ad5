"""Decoding through the cache: prompts in, bytes out, one row or many rows together.

Every row starts at offset 0 of the model's windows, as it would alone: nothing is padded on the
left. All rows of a batch are at the same offset at all times, so a forward pass takes as many
symbols as *every* unfinished row already knows (of its prompt, or the one it just chose): long
stretches while all prompts last, one symbol once the shortest has ended. Finished rows leave the
batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxylm.errors import CheckpointError
from proxylm.inference.options import GenerationOptions
from proxylm.inference.sampling import draw, greedy, uniform
from proxylm.inference.stop_strings import StopScanner
from proxylm.models.cache import Cache
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import BOS, BYTE_COUNT, COMPRESSED_OFFSET, EOS, RAW_CLOSE, RAW_OFFSET, RAW_OPEN

PREFILL_SYMBOLS = 2048
"""Most prompt symbols (over all rows) of one forward pass: bounds the memory a prompt takes."""


class Finish(StrEnum):
    """Why a generation ended."""

    END = "end"  # the model closed the text: </raw> or <eos>
    STOP = "stop"  # a stop string was complete
    LIMIT = "limit"  # max_new_bytes were generated


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes of one row that have become certain; ``finish`` is set on the row's last piece."""

    row: int
    data: bytes
    finish: Finish | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """All new bytes of one prompt, and why they end."""

    data: bytes
    finish: Finish


def prompt_symbols(prompt: bytes, *, sentinels: bool) -> NDArray[np.int64]:
    """``<bos> <raw> prompt`` as ids (method, section 7), or ``<bos> prompt`` without sentinels.

    The empty prompt is the prefix alone: the model then starts a document of its own.
    """
    prefix = [BOS, RAW_OPEN] if sentinels else [BOS]
    content = np.frombuffer(prompt, dtype=np.uint8).astype(np.int64) + RAW_OFFSET
    return np.concatenate([np.array(prefix, dtype=np.int64), content])


def complete(
    model: LanguageModel,
    prompts: Sequence[bytes],
    options: GenerationOptions,
    samples: Sequence[int],
) -> list[Completion]:
    """Decode the prompts together; the result for each is what it is alone.

    Args:
        model: any model over the shared vocabulary.
        prompts: raw bytes; lengths may differ.
        options: the same for all rows.
        samples: per row, the number that makes its randomness different from other rows'.

    Raises:
        UsageError: the model's vocabulary has no bytes.
    """
    collected = [bytearray() for _ in prompts]
    finishes: list[Finish] = [Finish.LIMIT for _ in prompts]
    for piece in decode(model, prompts, options, samples):
        collected[piece.row] += piece.data
        finishes[piece.row] = piece.finish or finishes[piece.row]
    return [
        Completion(data=bytes(data), finish=finish)
        for data, finish in zip(collected, finishes, strict=True)
    ]


def decode(
    model: LanguageModel,
    prompts: Sequence[bytes],
    options: GenerationOptions,
    samples: Sequence[int],
) -> Iterator[Piece]:
    """Decode the prompts together, yielding pieces in the order in which they become certain.

    Arguments and errors are those of ``complete``. The concatenated pieces of a row never contain
    part of a stop string that is later cut.
    """
    model.config.require_raw_bytes()
    chooser = _Chooser(options, sentinels=model.config.sentinels)
    rows = [
        _Row(number, prompt_symbols(prompt, sentinels=model.config.sentinels), sample, options)
        for number, (prompt, sample) in enumerate(zip(prompts, samples, strict=True))
    ]
    if options.max_new_bytes == 0:
        yield from (Piece(row=row.number, data=b"", finish=Finish.LIMIT) for row in rows)
    elif rows:
        yield from _decode_rows(model, rows, chooser)


def _decode_rows(model: LanguageModel, rows: list[_Row], chooser: _Chooser) -> Iterator[Piece]:
    cache = model.new_cache(len(rows))
    while rows:
        room = max(1, PREFILL_SYMBOLS // len(rows))
        count = min(room, *(row.pending_count for row in rows))
        ids = torch.from_numpy(np.stack([row.take(count) for row in rows]))
        logits = _next_symbol_logits(model, ids, cache)
        for row, row_logits in zip(rows, logits, strict=True):
            if not row.pending_count:
                yield row.accept(chooser.choose(row_logits, row.sample, row.generated))
        kept = [place for place, row in enumerate(rows) if row.finish is None]
        if 0 < len(kept) < len(rows):
            cache.keep_rows(torch.tensor(kept, device=model.lm_head.weight.device))
        rows = [rows[place] for place in kept]


def _next_symbol_logits(model: LanguageModel, ids: Tensor, cache: Cache) -> NDArray[np.float32]:
    """Feed ``[b, n]`` symbols; head 0's logits of specials and bytes after the last, ``[b, 320]``.

    The output layer's first rows are head 0's, and specials and bytes come first among them: what
    cannot follow inside raw text is not computed.
    """
    with torch.inference_mode():
        hidden = model.step_hidden(ids.to(model.lm_head.weight.device), cache)[:, -1]
        logits = torch.nn.functional.linear(hidden, model.lm_head.weight[:COMPRESSED_OFFSET])
        return logits.float().cpu().numpy()


class _Row:
    """One sequence on its way: symbols not yet fed, bytes generated, what is held back."""

    def __init__(
        self, number: int, symbols: NDArray[np.int64], sample: int, options: GenerationOptions
    ) -> None:
        self.number = number
        self.sample = sample
        self.generated = 0
        self.finish: Finish | None = None
        self._pending = symbols
        self._limit = options.max_new_bytes
        self._scanner = StopScanner(options.stop)

    @property
    def pending_count(self) -> int:
        """Known symbols that the model has not seen yet."""
        return len(self._pending)

    def take(self, count: int) -> NDArray[np.int64]:
        """The next ``count`` known symbols, now fed."""
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    def accept(self, symbol: int) -> Piece:
        """Take the chosen symbol in; it becomes pending unless the row ends here."""
        if symbol < RAW_OFFSET:
            return self._end(Finish.END, b"")
        self.generated += 1
        data = self._scanner.feed(bytes([symbol - RAW_OFFSET]))
        if self._scanner.stopped:
            return self._end(Finish.STOP, data)
        if self.generated == self._limit:
            return self._end(Finish.LIMIT, data)
        self._pending = np.array([symbol], dtype=np.int64)
        return Piece(row=self.number, data=data, finish=None)

    def _end(self, finish: Finish, data: bytes) -> Piece:
        self.finish = finish
        return Piece(row=self.number, data=data + self._scanner.finish(), finish=finish)


class _Chooser:
    """Chooses among what may follow inside raw text: the bytes and the symbols that end it."""

    def __init__(self, options: GenerationOptions, *, sentinels: bool) -> None:
        self._options = options
        ends = [EOS, RAW_CLOSE] if sentinels else [EOS]
        self._forbidden = np.ones(COMPRESSED_OFFSET, dtype=bool)
        self._forbidden[ends] = False
        self._forbidden[RAW_OFFSET : RAW_OFFSET + BYTE_COUNT] = False

    def choose(self, logits: NDArray[np.float32], sample: int, position: int) -> int:
        """The next symbol, given float ``[COMPRESSED_OFFSET]`` (compressed symbols are out)."""
        allowed = np.where(self._forbidden, np.float32(-np.inf), logits)
        if not np.isfinite(allowed.max()):
            raise CheckpointError(
                "the model's output is not a number: its weights are damaged, or its training "
                "diverged; load an earlier checkpoint"
            )
        options = self._options
        if options.temperature == 0:
            return greedy(allowed)
        number = uniform(options.seed, sample, position)
        return draw(allowed, options.temperature, options.top_p, number)
