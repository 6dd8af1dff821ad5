"""One sequence that is being decoded: what is asked, what is known, what is certain already."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float32, Int64

from proxylm.errors import DamagedWeightsError
from proxylm.generation.logprobs import ByteLogprobs, byte_logprobs
from proxylm.generation.request import DecodingRequest
from proxylm.generation.sampling import Logits, draw, uniform
from proxylm.generation.stop_strings import StopScanner
from proxylm.symbols import EOS, RAW_OFFSET


class Finish(StrEnum):
    """Why a generation ended."""

    END = "end"  # the model closed the text: </raw> or <eos>
    STOP = "stop"  # a stop string was complete
    LIMIT = "limit"  # so many symbols were generated, or no byte that is allowed fits before that


@dataclass(frozen=True, slots=True)
class ByteDelta:
    """Bytes of one sequence that have become certain; its last delta has ``finish``.

    Attributes:
        handle: of the sequence.
        data: never empty but on the last delta.
        finish: why the sequence ends here, or None.
        logprobs: one of each byte where they were asked for, otherwise empty.
        of_prompt: whether the bytes are the prompt's, which was asked to be scored.
    """

    handle: int
    data: bytes
    finish: Finish | None
    logprobs: tuple[ByteLogprobs, ...] = ()
    of_prompt: bool = False


class DecodingRow:
    """Symbols not yet fed, bytes that are certain, and what is held back.

    Attributes:
        handle: names the sequence.
        options: how its symbols are chosen and where they end.
        output: what it may write.
        drafter: drafts its next bytes; None: it writes one symbol per pass.
        finish: why it has ended, or None.
        generated: symbols chosen so far, a stop string's included.
    """

    def __init__(self, handle: int, request: DecodingRequest, *, sentinels: bool) -> None:
        self.handle = handle
        self.output = request.output(sentinels=sentinels)
        self.drafter = request.drafter()
        self.finish: Finish | None = None
        self.generated = 0
        self._request = request
        self.options = request.options
        self._prompt = self._pending = request.symbols(sentinels=sentinels)
        self._written: list[int] = []  # known symbols after the prompt
        self._unscored = self._pending[len(self._pending) - request.scored_bytes :]
        self._spell = request.speller()
        self._scanner = StopScanner(request.options.stop)
        self._structured = request.structured()
        self._scored: list[ByteLogprobs] = []  # of the prompt's bytes, not yet handed out
        self._data = bytearray()  # certain, not yet handed out
        self._logprobs: list[ByteLogprobs] = []  # of bytes in _data, then of those held back
        self._end_at_limit()

    @property
    def symbols_left(self) -> int:
        """How many more symbols the limit allows."""
        return self.options.max_new - self.generated

    def take(self, count: int) -> Int64[np.ndarray, " taken"]:
        """The next ``count`` known symbols, or all, now fed."""
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    @property
    def reads(self) -> bool:
        """Whether symbols of its prompt are still to be fed."""
        return not self._written and bool(len(self._pending)) and self.finish is None

    @property
    def pending(self) -> int:
        """How many known symbols are still to be fed."""
        return len(self._pending)

    @property
    def skippable(self) -> Int64[np.ndarray, " symbols"]:
        """The pending symbols whose keys would do: nothing is read from the states after them."""
        return self._pending[: max(0, len(self._pending) - 1 - len(self._unscored))]

    def known(self, count: int) -> Int64[np.ndarray, " count"]:
        """The first symbols of its text: of the prompt, then of those chosen."""
        written = self._written[: max(0, count - len(self._prompt))]
        return np.concatenate([self._prompt[:count], np.array(written, dtype=np.int64)])

    @property
    def writes(self) -> bool:
        """Whether all known symbols are fed, so that head 0 says what comes next."""
        return not len(self._pending) and self.finish is None

    @property
    def scorable(self) -> int:
        """How many bytes of the prompt that are to be scored are predicted by what is fed.

        The newest of them is predicted by the newest fed symbol, or, once nothing is pending, by
        the one before.
        """
        # The first pending symbol is predicted already.
        return max(0, len(self._unscored) - max(0, len(self._pending) - 1))

    def score_prompt(self, logits: Float32[np.ndarray, "scored symbols"]) -> None:
        """Score the prompt's next bytes.

        ``logits`` are head 0's where these bytes are predicted, at least ``output.end`` columns.

        Raises:
            DamagedWeightsError: they are no numbers.
        """
        for symbol, row in zip(self._unscored.tolist(), logits, strict=False):
            allowed = row[: self.output.end] + self.output.mask
            self._scored.append(self._logprobs_of(symbol, allowed))
            if math.isnan(self._scored[-1].logprob):
                raise DamagedWeightsError
        self._unscored = self._unscored[len(logits) :]
        self._end_at_limit()

    def accept(self, logits: Logits) -> int:
        """Choose the next symbol and take it in; it is pending unless the row ends with it.

        ``logits`` are head 0's, at least ``output.end`` of them.

        Raises:
            DamagedWeightsError: they are no numbers.
        """
        logits = logits[: self.output.end] + self.output.mask
        allowed = self._structured_logits(logits)
        if allowed is None:
            self._end(Finish.LIMIT)
            return EOS
        symbol = self._choose(allowed)
        if symbol < self.output.offset:
            self._end(Finish.END)
            return symbol
        self.generated += 1
        if self._structured is not None:
            self._structured.advance(symbol - self.output.offset)
        if self.drafter is not None:
            self.drafter.append(symbol - self.output.offset)
        if self._request.logprobs is not None:
            self._logprobs.append(self._logprobs_of(symbol, logits))
        self._data += self._scanner.feed(self._spell(symbol - self.output.offset))
        if self._scanner.stopped:
            self._end(Finish.STOP)
        else:
            self._written.append(symbol)
            self._pending = np.array([symbol], dtype=np.int64)
            self._end_at_limit()
        return symbol

    def take_deltas(self) -> list[ByteDelta]:
        """What has become certain since the last time, the prompt's bytes first."""
        deltas = []
        if self._scored:
            logprobs, self._scored = tuple(self._scored), []
            data = bytes(entry.symbol - RAW_OFFSET for entry in logprobs)
            deltas.append(ByteDelta(self.handle, data, None, logprobs, of_prompt=True))
        if self._data or self.finish is not None:
            data, self._data = bytes(self._data), bytearray()
            logprobs = tuple(self._logprobs[: len(data)])
            self._logprobs = self._logprobs[len(data) :]
            deltas.append(ByteDelta(self.handle, data, self.finish, logprobs))
        return deltas

    def _logprobs_of(self, symbol: int, logits: Logits) -> ByteLogprobs:
        return byte_logprobs(logits, symbol, alternatives=self._request.logprobs or 0)

    def _end_at_limit(self) -> None:
        if not self.symbols_left and not len(self._unscored):
            self._end(Finish.LIMIT)

    def _end(self, finish: Finish) -> None:
        self.finish = finish
        self._data += self._scanner.finish()

    def _structured_logits(self, logits: Logits) -> Logits | None:
        """Minus infinity as well for bytes that are not allowed; None if that is everything."""
        if self._structured is None:
            return logits
        allowed = self._structured.allowed(self.symbols_left)
        if allowed.none:
            return None
        excluded = np.full(len(logits), not allowed.may_end)
        excluded[self.output.offset :] = ~allowed.values
        return np.where(excluded, np.float32(-np.inf), logits)

    def _choose(self, logits: Logits) -> int:
        best = int(logits.argmax())
        if not math.isfinite(logits[best]):
            raise DamagedWeightsError
        options = self.options
        if options.temperature == 0:
            return best
        number = uniform(options.seed, self._request.sample, self.generated)
        return draw(logits, options.temperature, options.top_p, number)
