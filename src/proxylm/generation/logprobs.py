"""Log-probabilities of single bytes: head 0's, at temperature 1, over what may follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteLogprobs:
    """How probable a symbol was where it stands.

    Attributes:
        symbol: its id.
        logprob: natural logarithm of its probability among what may follow.
        alternatives: the most probable symbols and their logarithms, best first.
    """

    symbol: int
    logprob: float
    alternatives: tuple[tuple[int, float], ...] = ()


def byte_logprobs(
    logits: Float32[np.ndarray, " symbols"], symbol: int, *, alternatives: int
) -> ByteLogprobs:
    """Of ``symbol``, and of the ``alternatives`` most probable (of equal ones the lowest first).

    ``logits`` are head 0's, −∞ where a symbol cannot follow.
    """
    allowed = logits.astype(np.float64) - np.float64(logits.max())
    allowed -= np.log(np.exp(allowed).sum())
    best = np.argsort(-allowed, kind="stable")[:alternatives]
    return ByteLogprobs(
        symbol=symbol,
        logprob=float(allowed[symbol]),
        alternatives=tuple((int(index), float(allowed[index])) for index in best),
    )
