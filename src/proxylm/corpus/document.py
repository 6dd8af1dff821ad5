"""The value a corpus reader yields: one document, kept as exact bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document of a corpus.

    Attributes:
        id: where it came from, for people (a path, ``file.jsonl:17``), or what the corpus's own
            id field says. Such ids may repeat and are kept as they are: nothing looks a document
            up by its id, and to find repeated ones all of a corpus's ids would have to be held.
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
