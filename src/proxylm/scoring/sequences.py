"""What a model is given to score: the ids of one text, or of one part of a text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSequence:
    """What one sequence gives the model, and which part of it is scored.

    Attributes:
        prefix: int64 ``[p]`` ids that start every window, at least one.
        content: int64 ``[m]`` ids, of one format where the model is ours.
        first_scored: content symbols before this one are read, but cost nothing.
    """

    prefix: Int64[np.ndarray, " prefix"]
    content: Int64[np.ndarray, " symbol"]
    first_scored: int = 0
