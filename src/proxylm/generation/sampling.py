"""Choosing the next symbol: greedy, or temperature and top-p from counter-based randomness.

Nothing here carries random state: the uniform number of a draw is a hash of (seed, sample,
position), so a sample does not depend on what it was batched with or on where it was resumed.
"""

from __future__ import annotations

import struct

import numpy as np
import xxhash
from jaxtyping import Float32, Float64, Int64

PURPOSE = b"proxylm.inference.sampling"  # part of every draw: never change it


def uniform(seed: int, sample: int, position: int) -> float:
    """The uniform number in ``[0, 1)`` (53 random bits) of one draw."""
    counter = PURPOSE + struct.pack("<qqq", seed, sample, position)
    return (xxhash.xxh3_64_intdigest(counter) >> 11) * 2.0**-53


Logits = Float32[np.ndarray, " symbols"]


def nucleus(
    logits: Logits, temperature: float, top_p: float
) -> tuple[Int64[np.ndarray, " kept"], Float64[np.ndarray, " kept"]]:
    """The symbols that can be drawn, most probable first, and their cumulative probability.

    Probabilities are ``softmax(logits / temperature)`` in double precision; the nucleus is the
    shortest run of the most probable symbols whose total reaches ``top_p`` (ties: lowest index
    first), so a symbol stays exactly where the total of those before it is below ``top_p``.

    Args:
        logits: −∞ for symbols that must not be drawn.
        temperature: above 0.
        top_p: in ``(0, 1]``.

    Returns:
        Indices and unnormalized cumulative probabilities, at least one.
    """
    # The largest logit is taken off first: dividing by a tiny temperature then gives 0 and −∞
    # (greedy, in the limit), never ∞ − ∞.
    with np.errstate(over="ignore"):
        scaled = (logits.astype(np.float64) - np.float64(logits.max())) / temperature
    weights = np.exp(scaled)
    order = np.argsort(-weights, kind="stable")
    cumulative = np.cumsum(weights[order] / weights.sum())
    kept = int(np.count_nonzero(weights))
    if top_p < 1:  # rounding must not cut the tail where nothing was asked to be cut
        kept = min(kept, 1 + int(np.count_nonzero(cumulative[:-1] < top_p)))
    return order[:kept], cumulative[:kept]


def draw(logits: Logits, temperature: float, top_p: float, number: float) -> int:
    """Index of one of the logits, drawn from the nucleus by inverting its distribution.

    Temperature 0 is greedy: the largest, the first of them on a tie, whatever the number.
    """
    if temperature == 0:
        return int(np.argmax(logits))
    order, cumulative = nucleus(logits, temperature, top_p)
    place = int(np.searchsorted(cumulative, number * cumulative[-1], side="right"))
    return int(order[min(place, len(order) - 1)])
