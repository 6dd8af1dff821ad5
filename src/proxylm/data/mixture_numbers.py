"""What a mixture comes to in a run of so many steps: the numbers that everything else reads.

The plan, the checks and the predictions take a mixture's choices from here only, whoever wrote
them, and here alone it is checked that they make sense.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.data.mixture import Mixture, RateSchedule
from proxylm.data.open_choice import RecordedObject, class_name_of
from proxylm.errors import UsageError
from proxylm.fingerprint import fingerprint_of

VARYING_RATE = "each context is packed at its step's rate"
"""In the fingerprints where the rate varies: earlier versions packed other contexts then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureNumbers:
    """A mixture's choices over a run.

    Attributes:
        rates: float64 ``[steps]``, share of the views shown that is compressed.
        phase_ends: steps that contexts are not shuffled across.
        edges: int64 ``[blocks + 1]``, first steps of the blocks that contexts are ordered in, and
            the number of steps at the end.
        steps_with_pairs: steps, from the first, that may hold translation pairs.
        compressed_first: probability that a pair shows the compressed view first.
        splits_pairs: whether pairs are cut so that both views of every part meet in a context.
        piece_symbols: least and most symbols of a piece; None for whole documents.
    """

    rates: NDArray[np.float64]
    phase_ends: list[int]
    edges: NDArray[np.int64]
    steps_with_pairs: int
    compressed_first: float
    splits_pairs: bool
    piece_symbols: tuple[int, int] | None

    @property
    def has_pairs(self) -> NDArray[np.bool_]:
        """Whether documents of a step may be shown as pairs: bool ``[steps]``."""
        return np.arange(len(self.rates)) < self.steps_with_pairs

    @property
    def shows_compressed(self) -> bool:
        """Whether a compressed view can be shown at any step."""
        return bool((self.rates > 0).any())

    @property
    def needs_compressed(self) -> bool:
        """Whether compressed views are needed: to be shown, or for the places of pieces' ends."""
        return self.shows_compressed or self.piece_symbols is not None

    @property
    def rate_varies(self) -> NDArray[np.bool_]:
        """Whether the rate of a block's steps is not one and the same: bool ``[blocks]``."""
        firsts = self.edges[:-1]
        highest = np.maximum.reduceat(self.rates, firsts)
        return highest > np.minimum.reduceat(self.rates, firsts)

    @property
    def fingerprint(self) -> str:
        """Names these numbers, whatever the objects say that gave them."""
        return fingerprint_of(
            self.rates.astype("<f8").tobytes(),
            self.phase_ends,
            self.steps_with_pairs,
            self.compressed_first,
            self.splits_pairs,
            list(self.piece_symbols) if self.piece_symbols else None,
            *([VARYING_RATE] if self.rate_varies.any() else []),
        )


def mixture_numbers(mixture: Mixture, total_steps: int) -> MixtureNumbers:
    """A mixture's choices over a run of ``total_steps``.

    Raises:
        UsageError: an object of the user's own gives what cannot be, or only its record is there.
    """
    granularity = _at_hand(mixture.granularity)
    pairing, pieces = _at_hand(granularity.pairing), granularity.piece_symbols
    with_pairs = pairing.steps_with_pairs(total_steps)
    first = pairing.compressed_first_probability
    fits = _is_whole(with_pairs) and 0 <= with_pairs <= total_steps
    _require(pairing, "steps_with_pairs", with_pairs, fits)
    _require(pairing, "compressed_first_probability", first, 0 <= first <= 1)
    fits = pieces is None or (all(map(_is_whole, pieces)) and 1 <= pieces[0] <= pieces[1])
    _require(granularity, "piece_symbols", pieces, fits)
    phase_ends = _phase_ends(mixture.rate, total_steps)
    phases = sorted({0, total_steps, int(with_pairs), *phase_ends})
    # Of these types: for others, such as 1 instead of 1.0, all kernels would be compiled again.
    return MixtureNumbers(
        rates=_rates(_at_hand(mixture.rate), total_steps),
        phase_ends=phase_ends,
        edges=_block_edges(phases, mixture.shuffle_block_steps),
        steps_with_pairs=int(with_pairs),
        compressed_first=float(first),
        splits_pairs=bool(granularity.splits_pairs),
        piece_symbols=None if pieces is None else (int(pieces[0]), int(pieces[1])),
    )


def _block_edges(phases: list[int], block_steps: int) -> NDArray[np.int64]:
    """First steps of the blocks, and the run's number of steps at the end.

    A block never crosses the end of a phase: nothing may carry pairs, or the rising rate, into
    the part of the run that has neither.

    >>> _block_edges([0, 200, 1000], 150)
    array([   0,  150,  200,  350,  500,  650,  800,  950, 1000])
    """
    blocks = [np.arange(first, end, block_steps) for first, end in itertools.pairwise(phases)]
    return np.concatenate([*blocks, phases[-1:]]).astype(np.int64)


def _is_whole(number: Any) -> bool:
    return float(number).is_integer()


def _at_hand(choice: Any) -> Any:
    if isinstance(choice, RecordedObject):
        raise UsageError(
            f"mixing: its {choice.class_name} is an object of the program that wrote this "
            "configuration; go on from that program, with the same object"
        )
    return choice


def _rates(schedule: RateSchedule, total_steps: int) -> NDArray[np.float64]:
    given = np.asarray(schedule.rates(total_steps))
    fits = given.shape == (total_steps,) and given.dtype.kind in "fiu"
    described = f"{given.dtype}{list(given.shape)}"
    _require(schedule, f"rates({total_steps})", described, fits)
    rates = given.astype(np.float64)
    outside = np.flatnonzero(~((rates >= 0) & (rates <= 1)))  # NaN is outside too
    if outside.size:
        step = int(outside[0])
        _require(schedule, f"rates({total_steps})[{step}]", rates[step], False)
    return rates


def _phase_ends(schedule: RateSchedule, total_steps: int) -> list[int]:
    phase_ends = getattr(schedule, "phase_ends", None)
    ends = [] if phase_ends is None else [int(end) for end in phase_ends(total_steps)]
    _require(schedule, "phase_ends", ends, all(0 <= end <= total_steps for end in ends))
    return ends


def _require(choice: Any, what: str, given: Any, fits: bool) -> None:
    if not fits:
        raise UsageError(f"mixing: {class_name_of(choice)}.{what} cannot be {given}")
