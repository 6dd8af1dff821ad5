"""What a mixture is: rate schedule, granularity, pairing, what happens at context ends.

A choice that has fields of its own is a type of its own (``kind`` names it in YAML). Each is also
a protocol: from Python any object that satisfies it will do (``data.open_choice``). What a mixture
comes to in a run of so many steps is computed in one place, ``data.mixture_numbers``.

    mixing:
      rate: {kind: warmup, start: 0.4, end: 0.9, fraction: 0.2}  # or steps: 10000
      granularity: {kind: document, pairing: {kind: warmup, order: random}, pair_overflow: split}
      overflow: continue
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Protocol, Self

import numpy as np
from jaxtyping import Float64
from pydantic import Field, NonNegativeFloat, model_validator

from proxylm.config import Config, added_field, plain_config
from proxylm.data.open_choice import OpenChoice
from proxylm.fingerprint import fingerprint_of
from proxylm.run_part import FirstPart, Fraction, steps_in

PAPER_WARM_UP_FRACTION = 0.2
"""The first 10 000 of 50 000 steps (method, section 4)."""


class RateSchedule(Protocol):
    """Which share of the views is shown compressed, step by step.

    A schedule may also have ``phase_ends(total_steps)``: the steps, in ``[0, total_steps]``, at
    which it changes its nature; contexts are not shuffled across them.
    """

    @property
    def fingerprint(self) -> str:
        """Names what it computes: it must change when ``rates`` does, and only then."""
        ...

    def rates(self, total_steps: int) -> Float64[np.ndarray, " total_steps"]:
        """The rate of every step of a run, each in [0, 1]."""
        ...


class Pairing(Protocol):
    """When documents are shown as translation pairs, and in which order."""

    @property
    def fingerprint(self) -> str:
        """Names what it decides: it must change when that does, and only then."""
        ...

    @property
    def compressed_first_probability(self) -> float:
        """Probability that a pair shows the compressed view first."""
        ...

    def steps_with_pairs(self, total_steps: int) -> int:
        """Number of steps, from the first, that may hold translation pairs."""
        ...


class Granularity(Protocol):
    """What one choice of a view is made for: a document, or a piece of one."""

    @property
    def fingerprint(self) -> str:
        """Names what it decides: it must change when that does, and only then."""
        ...

    @property
    def pairing(self) -> Pairing:
        """When whole documents are shown as pairs (never, where they are cut into pieces)."""
        ...

    @property
    def splits_pairs(self) -> bool:
        """Whether a pair is cut so that the two views of every part stand in one context."""
        ...

    @property
    def piece_symbols(self) -> tuple[int, int] | None:
        """Least and most symbols of a piece, at least 1; None for whole documents."""
        ...


class _Kind(Config):
    """Base of our own choices: plain values, told apart by ``kind`` in YAML."""

    @property
    def fingerprint(self) -> str:
        """Names the type and its values; a subclass is another type."""
        return fingerprint_of(type(self).__qualname__, plain_config(self))


class ConstantRate(_Kind):
    """The same share of views is shown compressed from the first step to the last."""

    kind: Literal["constant"] = "constant"
    rate: Fraction = 0.9

    def rates(self, total_steps: int) -> Float64[np.ndarray, " total_steps"]:
        """The rate of every step: float64 ``[total_steps]``."""
        return np.full(total_steps, self.rate)


class WarmUpRate(FirstPart, _Kind):
    """Linear from ``start`` to ``end`` over the first part of the steps, then ``end``."""

    kind: Literal["warmup"] = "warmup"
    start: Fraction = 0.4
    end: Fraction = 0.9
    fraction: Fraction | None = PAPER_WARM_UP_FRACTION

    def rates(self, total_steps: int) -> Float64[np.ndarray, " total_steps"]:
        """The rate of every step: float64 ``[total_steps]``."""
        return _linear([(0, self.start), (self.steps_of(total_steps), self.end)], total_steps)

    def phase_ends(self, total_steps: int) -> list[int]:
        """Steps where the schedule changes its nature: the end of the warm-up."""
        return [min(self.steps_of(total_steps), total_steps)]


class PointsRate(_Kind):
    """Piecewise linear through points; two points at one place are a jump.

    Tokens alone, then bytes alone in the last fifth (a late raw stage):

    >>> PointsRate(points=((0, 1), (0.8, 1), (0.8, 0), (1, 0))).rates(5)
    array([1., 1., 1., 1., 0.])

    Attributes:
        points: (place, rate), the first at 0, none before the one that precedes it. After the last
            point its rate stays.
        unit: what places count: ``fraction`` of the run's steps, or ``steps``, in which case a
            shorter run is the beginning of a longer one.
    """

    kind: Literal["points"] = "points"
    points: tuple[tuple[NonNegativeFloat, Fraction], ...] = Field(min_length=1)
    unit: Literal["fraction", "steps"] = "fraction"

    @model_validator(mode="after")
    def _places_in_order(self) -> Self:
        places = [place for place, _ in self.points]
        if places[0] != 0:
            raise ValueError(f"points: the first stands at {places[0]:g}; begin with one at 0")
        for before, place in pairwise(places):
            if place < before:
                raise ValueError(f"points: {place:g} stands after {before:g}; give them in order")
        if self.unit == "steps" and not all(place.is_integer() for place in places):
            raise ValueError("points: steps are whole numbers; write shares as unit: fraction")
        if self.unit == "fraction" and places[-1] > 1:
            raise ValueError(f"points: {places[-1]:g} of a run; for steps, write unit: steps")
        return self

    def rates(self, total_steps: int) -> Float64[np.ndarray, " total_steps"]:
        """The rate of every step: float64 ``[total_steps]``."""
        return _linear(self._by_step(total_steps), total_steps)

    def phase_ends(self, total_steps: int) -> list[int]:
        """Steps where the schedule changes its nature: at every point inside the run, in order."""
        steps = {step for step, _ in self._by_step(total_steps)}
        return sorted(step for step in steps if 0 < step < total_steps)

    def _by_step(self, total_steps: int) -> list[tuple[int, float]]:
        if self.unit == "steps":
            return [(int(place), rate) for place, rate in self.points]
        return [(steps_in(place, total_steps), rate) for place, rate in self.points]


def _linear(
    points: Sequence[tuple[int, float]], total_steps: int
) -> Float64[np.ndarray, " total_steps"]:
    """Rates of all steps: linear between points (step, rate), the last one's from there on."""
    rates = np.full(total_steps, points[-1][1], np.float64)
    for (first, start), (end, rate) in pairwise(points):
        steps = np.arange(first, min(end, total_steps))
        rates[first:end] = start + (rate - start) * (steps - first) / (end - first)
    return rates


RateChoice = Annotated[
    RateSchedule, OpenChoice((ConstantRate, WarmUpRate, PointsRate), default="warmup")
]
"""One of our schedules, or any other object that is a ``RateSchedule``."""

PairOrder = Literal["rc", "cr", "random"]
"""Which view of a pair comes first: raw (rc), compressed (cr), or either, half and half."""

COMPRESSED_FIRST_PROBABILITY: dict[PairOrder, float] = {"rc": 0.0, "cr": 1.0, "random": 0.5}


class NoPairs(_Kind):
    """Every sample shows one view."""

    kind: Literal["none"] = "none"
    compressed_first_probability: ClassVar[float] = 0.0  # never asked for

    def steps_with_pairs(self, total_steps: int) -> int:
        """Number of steps, from the first, that may hold translation pairs."""
        return 0


class WarmUpPairs(FirstPart, _Kind):
    """Translation pairs during the first part of the steps only (the paper's default)."""

    kind: Literal["warmup"] = "warmup"
    order: PairOrder = "random"
    fraction: Fraction | None = PAPER_WARM_UP_FRACTION

    def steps_with_pairs(self, total_steps: int) -> int:
        """Number of steps, from the first, that may hold translation pairs."""
        return min(self.steps_of(total_steps), total_steps)

    @property
    def compressed_first_probability(self) -> float:
        """Probability that a pair shows the compressed view first."""
        return COMPRESSED_FIRST_PROBABILITY[self.order]


class AlwaysPairs(_Kind):
    """Translation pairs from the first step to the last."""

    kind: Literal["always"] = "always"
    order: PairOrder = "random"

    def steps_with_pairs(self, total_steps: int) -> int:
        """Number of steps, from the first, that may hold translation pairs."""
        return total_steps

    @property
    def compressed_first_probability(self) -> float:
        """Probability that a pair shows the compressed view first."""
        return COMPRESSED_FIRST_PROBABILITY[self.order]


PairingChoice = Annotated[
    Pairing, OpenChoice((NoPairs, WarmUpPairs, AlwaysPairs), default="warmup")
]
"""One of ours, or any other object that is a ``Pairing``."""


class DocumentGranularity(_Kind):
    """One choice per document: raw, compressed, or both as a translation pair (the paper's).

    Attributes:
        pairing: when pairs are shown, and in which order.
        pair_overflow: ``split`` cuts a pair at anchors into parts whose two views stand in one
            context; ``cut`` lets a context's end fall anywhere in it, as published code does
            (the only way for views without anchors, such as gzip).
    """

    kind: Literal["document"] = "document"
    pairing: PairingChoice = WarmUpPairs()
    pair_overflow: Literal["split", "cut"] = "split"
    piece_symbols: ClassVar[None] = None  # documents are shown whole

    @property
    def splits_pairs(self) -> bool:
        """Whether a pair is cut so that the two views of every part stand in one context."""
        return self.pair_overflow == "split"


class PieceGranularity(_Kind):
    """Many choices per document: it is cut at anchors into pieces, each raw or compressed.

    A piece is compressed with the rate of its document's step. Neighbours of the same format
    join, so that the format changes at every border. Cuts fall on the anchor nearest to the drawn
    length, and anchors stand about every 64 symbols: shorter lengths all give one such gap.

    Attributes:
        min_symbols: least length drawn for a piece, in symbols of the compressed view.
        max_symbols: greatest length drawn, inclusive; lengths are uniform between the two.
    """

    kind: Literal["piece"] = "piece"
    min_symbols: int = Field(default=16, ge=1, le=1 << 30)
    max_symbols: int = Field(default=160, ge=1, le=1 << 30)
    # Pieces show nothing twice: no pairs, and nothing to split.
    pairing: ClassVar[NoPairs] = NoPairs()
    splits_pairs: ClassVar[bool] = False

    @model_validator(mode="after")
    def _lengths_in_order(self) -> Self:
        if self.max_symbols < self.min_symbols:
            raise ValueError(
                f"max_symbols ({self.max_symbols}) is less than min_symbols ({self.min_symbols})"
            )
        return self

    @property
    def piece_symbols(self) -> tuple[int, int]:
        """Least and most symbols of a piece."""
        return self.min_symbols, self.max_symbols


GranularityChoice = Annotated[
    Granularity, OpenChoice((DocumentGranularity, PieceGranularity), default="document")
]
"""One of ours, or any other object that is a ``Granularity``."""


class Mixture(Config):
    """How documents become training contexts. The defaults are the paper's schedule.

    ``rate``, ``granularity`` and its ``pairing`` take any object that is a ``RateSchedule``,
    ``Granularity`` or ``Pairing``:

    >>> class Steps:
    ...     fingerprint = "two steps, 0.4 and 0.9"
    ...     def rates(self, total_steps):
    ...         return np.where(np.arange(total_steps) < total_steps // 2, 0.4, 0.9)
    >>> Mixture(rate=Steps()).rate.rates(4)
    array([0.4, 0.4, 0.9, 0.9])

    Attributes:
        rate: share of the views shown that is compressed, step by step.
        granularity: one choice per document, or per piece of a document.
        sentinels: whether ``<raw>`` ... ``</raw>`` and ``<compressed>`` ... surround each view.
        overflow: what happens to a document at a context's end. ``continue``: it goes on in the
            next context as a new segment, with ``<bos>`` and its sentinel again; ``plain``: it
            goes on with nothing in front, as in published code; ``truncate``: the rest is dropped.
        shuffle_block_steps: contexts are put in order within blocks of this many steps, so that a
            long document does not fill a batch: shuffled where the rate is the same throughout,
            else laid so that each is packed at the rate of its step. A block never crosses the
            end of a phase.
        cross_document_attention: whether attention reaches all of a context, whatever documents
            stand in it; positions then count through the context. Which targets are trained stays
            the same: what follows a document's end is never predicted from it.
        weight_of: whether sources' weights are shares of the documents or of the raw bytes.
        when_exhausted: ``repeat`` starts a source's next epoch, in a new order; ``stop`` ends the
            training data when the first source has no further document.

    Raises:
        UsageError: an object has not what its protocol asks for, or no fingerprint.
    """

    rate: RateChoice = WarmUpRate()
    granularity: GranularityChoice = DocumentGranularity()
    sentinels: bool = True
    overflow: Literal["continue", "plain", "truncate"] = "continue"
    shuffle_block_steps: int = Field(default=256, ge=1, le=1 << 20)
    cross_document_attention: bool = added_field(False)
    weight_of: Literal["documents", "bytes"] = "documents"
    when_exhausted: Literal["repeat", "stop"] = "repeat"

    @property
    def rewraps(self) -> bool:
        """Whether a document cut by a context's end opens again in the next one."""
        return self.overflow == "continue"

    @property
    def truncates(self) -> bool:
        """Whether what a context's end cuts off a document is dropped."""
        return self.overflow == "truncate"

    @property
    def stops(self) -> bool:
        """Whether the data ends with the first source that has no further document."""
        return self.when_exhausted == "stop"

    @classmethod
    def paper(cls) -> Self:
        """The paper's schedule: 0.4 to 0.9, pairs in random order in the first fifth."""
        return cls()

    @classmethod
    def bytes_only(cls, *, sentinels: bool = True) -> Self:
        """Raw bytes alone: the byte model, and the byte half of every comparison.

        Sentinels have nothing to tell it; without them it is a byte model like any other.
        """
        granularity = DocumentGranularity(pairing=NoPairs())
        return cls(rate=ConstantRate(rate=0.0), granularity=granularity, sentinels=sentinels)

    @classmethod
    def compressed_only(cls) -> Self:
        """Compressed symbols alone: the tokenizer model when the view is a tokenizer's."""
        return cls(rate=ConstantRate(rate=1.0), granularity=DocumentGranularity(pairing=NoPairs()))

    @classmethod
    def samples(cls, *, rate: float) -> Self:
        """One view per document at a fixed rate, no pairs."""
        return cls(rate=ConstantRate(rate=rate), granularity=DocumentGranularity(pairing=NoPairs()))

    @classmethod
    def pieces(cls, *, rate: float = 0.85, min_symbols: int = 16, max_symbols: int = 160) -> Self:
        """Mixing inside documents (method, section 4): 15 % of the pieces raw by default."""
        granularity = PieceGranularity(min_symbols=min_symbols, max_symbols=max_symbols)
        return cls(rate=ConstantRate(rate=rate), granularity=granularity)

    @property
    def weighs_bytes(self) -> bool:
        """Whether sources' weights are shares of the raw bytes, not of the documents."""
        return self.weight_of == "bytes"

    @property
    def has_own_objects(self) -> bool:
        """Whether something in it is none of our kinds, and cannot be written as YAML."""
        choices = (self.rate, self.granularity, getattr(self.granularity, "pairing", None))
        return any(type(choice).__module__ != __name__ for choice in choices)


READY_MIXTURES: dict[str, Callable[[], Mixture]] = {
    "paper": Mixture.paper,
    "pieces": Mixture.pieces,
    "bytes": Mixture.bytes_only,
    "compressed": Mixture.compressed_only,
}
"""Mixtures by name, for command lines and recipes."""
