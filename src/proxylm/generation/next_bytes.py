"""The exact distribution over bytes of a model of tokens, without any training.

A text of bytes is covered by every sequence of tokens that spells it up to its end or past it, and
past it with the last token alone. Each text has one probability, the sum over its covers:

    P(text) = sum over S of P(S) P(a token that begins with what S leaves of the text | S)

where ``S`` are the token sequences that spell a proper beginning of the text. The next byte's
distribution is ``P(text x) / P(text)``: a prompt may then end anywhere, inside a token too, and
nothing depends on where a tokenizer would cut it (Vieira et al. 2024, "From language models over
tokens to language models over characters"; Hayase et al. 2025, arXiv 2506.14123).

Sequences that have little part in the text's probability, or are too many, are dropped with what
they could still become; with a ``least_share`` of 0 nothing is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64

from proxylm.errors import DataError, UsageError
from proxylm.generation.output_format import OutputFormat, head_0_logits
from proxylm.generation.prompt_ends import Spellings
from proxylm.models.language_model import LanguageModel
from proxylm.scoring.passes import sequence_bits
from proxylm.scoring.readings import Reading
from proxylm.scoring.sequences import ScoredSequence
from proxylm.symbols import BYTE_COUNT, COMPRESSED_OFFSET, Format

LEAST_SHARE = 1e-4
"""A sequence with less of the text's probability is not followed."""

MOST_FOLLOWED = 32
"""Of more sequences than these, the most probable are followed."""

BYTES_AROUND_THE_END = 32
"""Bytes on each side of a prompt's end that are looked at in all ways; the others are read as the
tokenizer cuts them."""

_FED_AT_ONCE = 2048

Tokens = tuple[int, ...]

Following = Float64[np.ndarray, " token"]
"""Probability of each next token, in the order of ``Spellings``."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Tokens that spell a beginning of the text.

    Attributes:
        tokens: in order.
        length: bytes that they spell.
        log_probability: of the tokens, in nats.
        following: what comes after them.
    """

    tokens: Tokens
    length: int
    log_probability: float
    following: Following


@dataclass(frozen=True, slots=True)
class Cover:
    """Tokens that spell the text up to its end, or past it with the last one alone.

    Attributes:
        tokens: all but the last.
        length: bytes of the text that they spell.
        last: the last.
        log_probability: of all, in nats.
    """

    tokens: Tokens
    length: int
    last: int
    log_probability: float


class NextBytes:
    """A text of bytes as it grows, and what a model of tokens says of its next byte.

    Args:
        following: gives the next token's probabilities after tokens.
        spellings: of the tokens.
        tokens: what the text is already known to begin with; the text starts behind them.
        least_share: see ``LEAST_SHARE``.
        kept: tokens whose beginnings are followed in any case: how the text will be cut.
    """

    def __init__(
        self,
        following: Callable[[Tokens], Following],
        spellings: Spellings,
        *,
        tokens: Tokens = (),
        least_share: float = LEAST_SHARE,
        kept: Tokens = (),
    ) -> None:
        self._following = following
        self._spellings = spellings
        self._least_share = least_share
        self._kept = kept
        self._text = b""
        self._beginnings = [Beginning(tokens, 0, 0.0, following(tokens))]

    @property
    def log_probability(self) -> float:
        """Of the text so far, in nats; minus infinity where no tokens spell it."""
        if not self._text:
            return self._beginnings[0].log_probability
        return _log_sum([self._weight(one) for one in self._open])

    @property
    def log_probability_of_a_cut(self) -> float:
        """Of the text so far and a token's end behind it, in nats."""
        cut = [one.log_probability for one in self._beginnings if one.length == len(self._text)]
        return _log_sum(cut)

    def append(self, text: bytes) -> None:
        """The text goes on.

        Raises:
            DataError: no tokens spell it.
        """
        for byte in text:
            self._append(byte)

    def probabilities(self) -> Float64[np.ndarray, " 257"]:
        """Of each next byte, and of the end behind them."""
        total = self.log_probability
        found = np.zeros(BYTE_COUNT + 1)
        for one in self._beginnings:
            scale = math.exp(one.log_probability - total)
            rest = self._text[one.length :]
            tokens = self._spellings.range_of(rest)
            next_bytes = self._spellings.byte_at(len(rest))[tokens]
            goes_on = next_bytes >= 0
            found[:BYTE_COUNT] += scale * np.bincount(
                next_bytes[goes_on], one.following[tokens][goes_on], minlength=BYTE_COUNT
            )
            if not rest:
                found[BYTE_COUNT] += scale * max(0.0, 1.0 - one.following.sum())
        return found / found.sum()  # without what was dropped

    def covers(self) -> list[Cover]:
        """The text's covers, the most probable first; none of an empty text."""
        found = []
        for one in self._open:
            tokens = self._spellings.range_of(self._text[one.length :])
            for place in range(tokens.start, tokens.stop):
                if one.following[place] > 0:
                    found.append(
                        Cover(
                            one.tokens,
                            one.length,
                            self._spellings.order[place],
                            one.log_probability + math.log(one.following[place]),
                        )
                    )
        return sorted(found, key=lambda cover: -cover.log_probability)

    @property
    def _open(self) -> list[Beginning]:
        """Beginnings that leave something of the text."""
        return [one for one in self._beginnings if one.length < len(self._text)]

    def _weight(self, one: Beginning) -> float:
        """Log-probability that the beginning, and a token that covers the rest, come."""
        tokens = self._spellings.range_of(self._text[one.length :])
        mass = float(one.following[tokens].sum())
        return one.log_probability + math.log(mass) if mass > 0 else -math.inf

    def _append(self, byte: int) -> None:
        self._text += bytes([byte])
        weighted = [
            (weight, one) for one in self._beginnings if (weight := self._weight(one)) > -math.inf
        ]
        total = _log_sum([weight for weight, _ in weighted])
        if total == -math.inf:
            raise DataError(f"no tokens that are followed spell {self._text[-40:]!r}")
        longer = [grown for _, one in weighted for grown in self._longer(one)]
        least = self._least(total, [weight for weight, _ in weighted + longer])
        self._beginnings = [
            one for weight, one in weighted if weight >= least or self._is_kept(one.tokens)
        ] + [
            Beginning(tokens, len(self._text), weight, self._following(tokens))
            for weight, tokens in longer
            if weight >= least or self._is_kept(tokens)
        ]

    def _least(self, total: float, weights: list[float]) -> float:
        """The log-probability below which a beginning is not followed."""
        if not self._least_share:
            return -math.inf
        return max(total + math.log(self._least_share), *sorted(weights)[-MOST_FOLLOWED:][:1])

    def _longer(self, one: Beginning) -> list[tuple[float, Tokens]]:
        """The beginning with each token that spells the rest of the text: log-probability first."""
        rest = self._text[one.length :]
        start, count = self._spellings.range_of(rest).start, len(self._spellings.equal_to(rest))
        return [
            (
                one.log_probability + math.log(one.following[place]),
                (*one.tokens, self._spellings.order[place]),
            )
            for place in range(start, start + count)
            if one.following[place] > 0
        ]

    def _is_kept(self, tokens: Tokens) -> bool:
        return tokens == self._kept[: len(tokens)]


def _log_sum(logs: Sequence[float]) -> float:
    largest = max(logs, default=-math.inf)
    if largest == -math.inf:
        return largest
    return largest + math.log(sum(math.exp(one - largest) for one in logs))


class ModelTokens:
    """What a model says of the next token, by one cached row that goes back and forth.

    Args:
        model: the model.
        prefix: ids that it reads first.
        spellings: of the tokens.
    """

    def __init__(self, model: LanguageModel, prefix: Sequence[int], spellings: Spellings) -> None:
        self._model = model
        self._spellings = spellings
        self._prefix = list(prefix)
        count = len(spellings.order)
        self._output = OutputFormat(Format.COMPRESSED, model.config.sentinels, count)
        self._cache = model.new_cache(1)
        self._fed: list[int] = []

    def following(self, tokens: Tokens) -> Following:
        """Probability of each next token, in the order of ``Spellings``; the rest of 1 is the end.

        Tokens that spell nothing count as the end.
        """
        ids = [*self._prefix, *(token + COMPRESSED_OFFSET for token in tokens)]
        common = _common_length(self._fed, ids[:-1])  # one at least is fed
        self._go_back(common)
        common = len(self._fed)
        for start in range(common, len(ids), _FED_AT_ONCE):
            part = ids[start : start + _FED_AT_ONCE]
            feed = self._cache.plan(np.array([len(part)]))
            hidden = self._model.step_feed(self._tensor(part), self._cache, feed)
        self._fed = ids
        logits = head_0_logits(self._model, hidden[-1:], end=self._output.end)[0]
        exponents = (logits + self._output.mask).astype(np.float64)
        exponents = np.exp(exponents - exponents.max())
        probabilities = exponents[self._output.offset :] / exponents.sum()
        ordered: Following = probabilities[self._spellings.order]
        ordered[: len(self._spellings.equal_to(b""))] = 0
        return ordered

    def _go_back(self, length: int) -> None:
        try:
            self._cache.rewind(length)
        except UsageError:  # over more than a window of EVA's
            self._cache.restart(0)
            length = 0
        self._fed = self._fed[:length]

    def _tensor(self, ids: list[int]) -> torch.Tensor:
        return torch.tensor(ids, device=self._model.lm_head.weight.device)


def _common_length(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = zip(first, second, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


class ExactBytes:
    """A model of tokens as a model of bytes.

    Args:
        model: the model.
        reading: how it reads tokens.
        spellings: of its tokens.
        least_share: see ``LEAST_SHARE``.
    """

    def __init__(
        self,
        model: LanguageModel,
        reading: Reading,
        spellings: Spellings,
        *,
        least_share: float = LEAST_SHARE,
    ) -> None:
        self._model = model
        self._reading = reading
        self._spellings = spellings
        self._least_share = least_share

    def after(self, prompt: bytes, continuation: bytes = b"") -> tuple[NextBytes, int]:
        """The state behind a prompt, and how many bytes of the prompt it has read as tokens.

        Args:
            prompt: raw bytes; all but ``BYTES_AROUND_THE_END`` of them are read as the tokenizer
                cuts them, up to the end of one of its tokens.
            continuation: what will be appended, if that is known: the tokenizer's way to cut both
                is then followed whatever its share.

        Raises:
            DataError: the prompt has no exact form in the compressor.
        """
        read = self._reading.read(prompt + continuation)
        tokens = tuple((read.ids - COMPRESSED_OFFSET).tolist())
        first = max(0, len(prompt) - BYTES_AROUND_THE_END)
        count = max(0, int(np.searchsorted(read.starts, first, side="right")) - 1)
        length = int(read.starts[count]) if count < len(tokens) else 0
        asked = ModelTokens(self._model, self._reading.prefix.tolist(), self._spellings)
        with torch.inference_mode():
            state = NextBytes(
                asked.following,
                self._spellings,
                tokens=tokens[:count],
                least_share=self._least_share,
                kept=tokens,
            )
            state.append(prompt[length:])
        return state, length

    def covers(self, prompt: bytes) -> list[Cover]:
        """The covers of a prompt that is not empty, the most probable first.

        Raises:
            DataError: the prompt has no exact form in the compressor.
        """
        state, length = self.after(prompt)
        return [replace(cover, length=length + cover.length) for cover in state.covers()]

    def bits(self, prompt: bytes, continuation: bytes) -> float:
        """Bits of what follows a prompt.

        A continuation is looked at in all ways up to the end of the token in which as many of its
        bytes are read as are of the prompt. The rest is read as the tokenizer cuts it.

        Raises:
            DataError: they have no exact form in the compressor.
        """
        state, _ = self.after(prompt, continuation)
        before = state.log_probability
        read = self._reading.read(prompt + continuation)
        cut = int(np.searchsorted(read.starts, len(prompt) + BYTES_AROUND_THE_END))
        with torch.inference_mode():
            if cut == len(read.ids):
                state.append(continuation)
                return (before - state.log_probability) / math.log(2)
            state.append(continuation[: int(read.starts[cut]) - len(prompt)])
        rest = ScoredSequence(prefix=self._reading.prefix, content=read.ids, first_scored=cut)
        [bits] = sequence_bits(self._model, [rest])
        return (before - state.log_probability_of_a_cut) / math.log(2) + float(bits)
