"""One sequence that is being decoded: what is asked, what is known, what is certain already."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from proxylm.errors import DamagedWeightsError
from proxylm.generation.logprobs import ByteLogprobs, byte_logprobs
from proxylm.generation.request import DecodingRequest
from proxylm.generation.sampling import draw, greedy, uniform
from proxylm.generation.stop_strings import StopScanner
from proxylm.symbols import EOS, Format


class Finish(StrEnum):
    """Why a generation ended."""

    END = "end"  # the model closed the text: </raw> or <eos>
    STOP = "stop"  # a stop string was complete
    LIMIT = "limit"  # so many symbols were generated, or no byte that is allowed fits before that


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes of one sequence that have become certain; its last piece has ``finish``.

    Attributes:
        handle: of the sequence.
        data: never empty but on the last piece.
        finish: why the sequence ends here, or None.
        logprobs: one of each byte where they were asked for, otherwise empty.
    """

    handle: int
    data: bytes
    finish: Finish | None
    logprobs: tuple[ByteLogprobs, ...] = ()


class DecodingRow:
    """Symbols not yet fed, bytes that are certain, and what is held back.

    Attributes:
        handle: names the sequence.
        output: what it may write.
        finish: why it has ended, or None.
        generated: symbols chosen so far, a stop string's included.
    """

    def __init__(self, handle: int, request: DecodingRequest, *, sentinels: bool) -> None:
        self.handle = handle
        self.finish: Finish | None = None
        self.generated = 0
        self._request = request
        self.output = request.output(sentinels=sentinels)
        self._drawing = request.drawing
        self._pending = request.symbols(sentinels=sentinels)
        self._speller = request.speller()
        self._scanner = StopScanner(request.drawing.stop)
        self._constraint = request.constraint()
        self._data = bytearray()  # certain, not yet handed out
        self._logprobs: list[ByteLogprobs] = []  # of bytes in _data, then of those held back
        if request.most_symbols == 0:
            self.finish = Finish.LIMIT

    @property
    def pending_count(self) -> int:
        """Known symbols that the model has not seen yet."""
        return len(self._pending)

    @property
    def symbols_left(self) -> int:
        """How many more symbols the limit allows."""
        return self._request.most_symbols - self.generated

    @property
    def temperature(self) -> float:
        """What its logits are divided by; 0 is greedy."""
        return self._drawing.temperature

    @property
    def takes_proposals(self) -> bool:
        """Whether it writes what further heads propose: bytes."""
        return self.output.content_format is Format.RAW

    def take(self, count: int) -> NDArray[np.int64]:
        """The next ``count`` known symbols, or all, now fed."""
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    def accept(self, logits: NDArray[np.float32]) -> int:
        """Choose the next symbol and take it in; it is pending unless the row ends with it.

        ``logits`` are head 0's, ``[n]`` with ``n`` at least ``output.end``.
        """
        logits = logits[: self.output.end] + self.output.mask
        allowed = self._constrained(logits)
        if allowed is None:
            self._end(Finish.LIMIT)
            return EOS
        symbol = self._choose(allowed)
        if symbol < self.output.offset:
            self._end(Finish.END)
            return symbol
        self.generated += 1
        if self._constraint is not None:
            self._constraint.advance(symbol - self.output.offset)
        if self._request.logprobs is not None:
            alternatives = self._request.logprobs
            self._logprobs.append(byte_logprobs(logits, symbol, alternatives=alternatives))
        self._data += self._scanner.feed(self._speller.feed(symbol - self.output.offset))
        if self._scanner.stopped:
            self._end(Finish.STOP)
        elif not self.symbols_left:
            self._end(Finish.LIMIT)
        else:
            self._pending = np.array([symbol], dtype=np.int64)
        return symbol

    def take_piece(self) -> Piece | None:
        """What has become certain since the last one, if anything has."""
        if not self._data and self.finish is None:
            return None
        data, self._data = bytes(self._data), bytearray()
        logprobs = tuple(self._logprobs[: len(data)])
        self._logprobs = self._logprobs[len(data) :]
        return Piece(handle=self.handle, data=data, finish=self.finish, logprobs=logprobs)

    def _end(self, finish: Finish) -> None:
        self.finish = finish
        self._data += self._scanner.finish()

    def _constrained(self, logits: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Minus infinity as well for what the constraint excludes; None if that is everything."""
        if self._constraint is None:
            return logits
        choices = self._constraint.choices(self.symbols_left)
        if choices.none:
            return None
        excluded = np.full(len(logits), not choices.may_end)
        excluded[self.output.offset :] = ~choices.values
        return np.where(excluded, np.float32(-np.inf), logits)

    def _choose(self, logits: NDArray[np.float32]) -> int:
        best = greedy(logits)
        if not math.isfinite(logits[best]):
            raise DamagedWeightsError
        drawing = self._drawing
        if drawing.temperature == 0:
            return best
        number = uniform(drawing.seed, self._request.sample, self.generated)
        return draw(logits, drawing.temperature, drawing.top_p, number)
