"""The value a corpus reader yields: one document, kept as exact bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document of a corpus.

    Attributes:
        id: where it came from, readable and unique in its corpus (a path, ``file.jsonl:17``).
        raw: its bytes, exactly as they stand in the source; never empty.
        symbols: symbols that came with the document, uint32 in ``[0, K)``; None otherwise.
    """

    id: str
    raw: bytes
    symbols: NDArray[np.uint32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A document that was left out, counted by ``reason`` (a fixed slug such as ``empty``)."""

    id: str
    reason: str
    detail: str = ""
