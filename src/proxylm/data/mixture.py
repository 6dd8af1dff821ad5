"""What a mixture is: sources, rate schedule, pairing, granularity, what happens at context ends.

A choice that has fields of its own is a type of its own (``kind`` names it in YAML). Everything
here is plain data; ``data.packing.plan`` turns it into the numbers that the packing kernel reads.

    mixing:
      rate: {kind: warmup, start: 0.4, end: 0.9, fraction: 0.2}
      granularity: {kind: document, pairing: {kind: warmup, order: random}, pair_overflow: split}
      overflow: continue
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag, model_validator

from proxylm.config import Config
from proxylm.errors import UsageError

PAPER_WARM_UP_FRACTION = 0.2
"""The first 10 000 of 50 000 steps (method, section 4)."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def warm_up_steps(fraction: float, total_steps: int) -> int:
    """Number of steps in the first ``fraction`` of a run.

    >>> warm_up_steps(0.2, 50_000)
    10000
    """
    return round(fraction * total_steps)


class SourceConfig(Config):
    """One source of documents: a view store, one of its compressed views, and its weight.

    Attributes:
        store: folder that ``proxylm prepare`` wrote.
        view: name of the compressed view; may be left out when everything is shown raw.
        weight: share of this source, relative to the others; see ``MixingConfig.weight_of``.
    """

    store: str
    view: str | None = None
    weight: float = Field(default=1.0, ge=0.0)


def check_sources(sources: Sequence[SourceConfig]) -> None:
    """Refuse a list of sources that gives nothing to draw from."""
    if not sources:
        raise UsageError("data: no source is given; name at least one view store")
    if not any(source.weight > 0 for source in sources):
        raise UsageError("data: all weights are 0; give at least one source a positive weight")


def _kind_or(default: str) -> Discriminator:
    """Tells the types of a choice apart by ``kind``; where it is left out, the default is meant."""

    def kind_of(value: Any) -> Any:
        is_plain = isinstance(value, Mapping)
        return value.get("kind", default) if is_plain else getattr(value, "kind", None)

    return Discriminator(kind_of)


class ConstantRate(Config):
    """The same share of views is shown compressed from the first step to the last."""

    kind: Literal["constant"] = "constant"
    rate: Fraction = 0.9

    def rates(self, total_steps: int) -> NDArray[np.float64]:
        """The rate of every step: float64 ``[total_steps]``."""
        return np.full(total_steps, self.rate)

    def phase_ends(self, total_steps: int) -> list[int]:
        """Steps where the schedule changes its nature: none."""
        return []


class WarmUpRate(Config):
    """Linear from ``start`` to ``end`` over the first ``fraction`` of the steps, then ``end``."""

    kind: Literal["warmup"] = "warmup"
    start: Fraction = 0.4
    end: Fraction = 0.9
    fraction: Fraction = PAPER_WARM_UP_FRACTION

    def rates(self, total_steps: int) -> NDArray[np.float64]:
        """The rate of every step: float64 ``[total_steps]``."""
        rising = warm_up_steps(self.fraction, total_steps)
        rates = np.full(total_steps, self.end)
        rates[:rising] = self.start + (self.end - self.start) * np.arange(rising) / rising
        return rates

    def phase_ends(self, total_steps: int) -> list[int]:
        """Steps where the schedule changes its nature: the end of the warm-up."""
        return [warm_up_steps(self.fraction, total_steps)]


RateSchedule = Annotated[
    Annotated[ConstantRate, Tag("constant")] | Annotated[WarmUpRate, Tag("warmup")],
    _kind_or("warmup"),
]

PairOrder = Literal["rc", "cr", "random"]
"""Which view of a pair comes first: raw (rc), compressed (cr), or either, half and half."""

COMPRESSED_FIRST_PROBABILITY: dict[PairOrder, float] = {"rc": 0.0, "cr": 1.0, "random": 0.5}


class NoPairs(Config):
    """Every sample shows one view."""

    kind: Literal["none"] = "none"

    def steps_with_pairs(self, total_steps: int) -> int:
        """Number of steps, from the first, that may hold translation pairs."""
        return 0

    @property
    def compressed_first_probability(self) -> float:
        """Never asked for: there are no pairs."""
        return 0.0


class WarmUpPairs(Config):
    """Translation pairs during the first ``fraction`` of the steps only (the paper's default)."""

    kind: Literal["warmup"] = "warmup"
    order: PairOrder = "random"
    fraction: Fraction = PAPER_WARM_UP_FRACTION

    def steps_with_pairs(self, total_steps: int) -> int:
        """Number of steps, from the first, that may hold translation pairs."""
        return warm_up_steps(self.fraction, total_steps)

    @property
    def compressed_first_probability(self) -> float:
        """Probability that a pair shows the compressed view first."""
        return COMPRESSED_FIRST_PROBABILITY[self.order]


class AlwaysPairs(Config):
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


Pairing = Annotated[
    Annotated[NoPairs, Tag("none")]
    | Annotated[WarmUpPairs, Tag("warmup")]
    | Annotated[AlwaysPairs, Tag("always")],
    _kind_or("warmup"),
]


class DocumentGranularity(Config):
    """One choice per document: raw, compressed, or both as a translation pair (the paper's).

    Attributes:
        pairing: when pairs are shown, and in which order.
        pair_overflow: ``split`` cuts a pair at anchors into parts whose two views stand in one
            context; ``cut`` lets a context's end fall anywhere in it, as published code does
            (the only way for views without anchors, such as gzip).
    """

    kind: Literal["document"] = "document"
    pairing: Pairing = WarmUpPairs()
    pair_overflow: Literal["split", "cut"] = "split"

    @property
    def splits_pairs(self) -> bool:
        """Whether a pair is cut so that the two views of every part stand in one context."""
        return self.pair_overflow == "split"


class PieceGranularity(Config):
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

    @model_validator(mode="after")
    def _lengths_in_order(self) -> Self:
        if self.max_symbols < self.min_symbols:
            raise ValueError(
                f"max_symbols ({self.max_symbols}) is less than min_symbols ({self.min_symbols})"
            )
        return self


Granularity = Annotated[
    Annotated[DocumentGranularity, Tag("document")] | Annotated[PieceGranularity, Tag("piece")],
    _kind_or("document"),
]


class MixingConfig(Config):
    """How documents become training contexts. The defaults are the paper's schedule.

    Attributes:
        rate: share of the views shown that is compressed, step by step.
        granularity: one choice per document, or per piece of a document.
        sentinels: whether ``<raw>`` ... ``</raw>`` and ``<compressed>`` ... surround each view.
        overflow: what happens to a document at a context's end. ``continue``: it goes on in the
            next context as a new segment, with ``<bos>`` and its sentinel again; ``plain``: it
            goes on with nothing in front, as in published code; ``truncate``: the rest is dropped.
        shuffle_block_steps: contexts are shuffled within blocks of this many steps, so that a
            long document does not fill a batch; the rate of a context is at most a block off. A
            block never crosses the end of a warm-up.
        weight_of: whether sources' weights are shares of the documents or of the raw bytes.
        when_exhausted: ``repeat`` starts a source's next epoch, in a new order; ``stop`` ends the
            training data when the first source has no further document.
    """

    rate: RateSchedule = WarmUpRate()
    granularity: Granularity = DocumentGranularity()
    sentinels: bool = True
    overflow: Literal["continue", "plain", "truncate"] = "continue"
    shuffle_block_steps: int = Field(default=256, ge=1, le=1 << 20)
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
    def bytes_only(cls) -> Self:
        """Raw bytes alone: the byte model, and the byte half of every comparison."""
        return cls(rate=ConstantRate(rate=0.0), granularity=DocumentGranularity(pairing=NoPairs()))

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

    def steps_with_pairs(self, total_steps: int) -> int:
        """Number of steps, from the first, whose documents may be shown as pairs."""
        if isinstance(self.granularity, PieceGranularity):
            return 0
        return self.granularity.pairing.steps_with_pairs(total_steps)


READY_MIXTURES: dict[str, Callable[[], MixingConfig]] = {
    "paper": MixingConfig.paper,
    "pieces": MixingConfig.pieces,
    "bytes": MixingConfig.bytes_only,
    "compressed": MixingConfig.compressed_only,
}
"""Mixtures by name, for command lines and recipes."""
