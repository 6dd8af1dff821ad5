"""What the byte LM is trained on: whole documents, or fragments that start anywhere.

The paper trains on whole documents. The coder, however, starts with an empty context at every
window, so a model that has often seen the start of nothing in particular fits its use better.
Both are corpora over another corpus's training part, read by the ordinary ``prepare``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from proxylm.config import Config
from proxylm.corpus.contract import Corpus, CorpusPart
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.split import is_held_out
from proxylm.fingerprint import fingerprint_of

FRAGMENT_SEED = 2
"""Of the hash of a document from which the lengths of its fragments are drawn."""


class LongContexts(Config):
    """Whole documents, as in the paper."""

    kind: Literal["long"] = "long"

    def fragment_lengths(self, raw: bytes) -> NDArray[np.int64]:
        """One fragment: the document."""
        return np.array([len(raw)], np.int64)


class ShortContexts(Config):
    """Fragments of random length, cut one after the other, so that they start anywhere.

    A length ``L`` is drawn with a probability proportional to ``1 / L²``: fragments of 8 to 16
    bytes hold as many bytes as those of 512 to 1024. Most starts are of short fragments, and long
    contexts, which the boundary pass reads, still occur.

    Attributes:
        min_bytes: least length (a document's last fragment may be shorter).
        max_bytes: greatest length, exclusive.
    """

    kind: Literal["short"] = "short"
    min_bytes: PositiveInt = 8
    max_bytes: PositiveInt = 1024

    @model_validator(mode="after")
    def _lengths_in_order(self) -> ShortContexts:
        if self.max_bytes <= self.min_bytes:
            raise ValueError(f"max_bytes {self.max_bytes} must exceed min_bytes {self.min_bytes}")
        return self

    def fragment_lengths(self, raw: bytes) -> NDArray[np.int64]:
        """Lengths that sum to the document's, drawn from its content: int64 ``[fragments]``."""
        generator = np.random.default_rng(xxhash.xxh3_64_intdigest(raw, seed=FRAGMENT_SEED))
        drawn = self._draw(generator.random(len(raw) // self.min_bytes + 1))
        ends = np.cumsum(drawn)
        ends = np.append(ends[ends < len(raw)], len(raw))
        return np.diff(ends, prepend=0)

    def _draw(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        # The inverse of the distribution of a continuous length with density ~ L^-2.
        shortest, longest = 1.0 / self.min_bytes, 1.0 / self.max_bytes
        lengths = 1.0 / (shortest - uniform * (shortest - longest))
        return np.minimum(lengths, self.max_bytes - 1).astype(np.int64)


Contexts = Annotated[LongContexts | ShortContexts, Field(discriminator="kind")]


class TrainingPart(Corpus):
    """A corpus without its held-out documents, cut as ``contexts`` says.

    Its fragments are documents of their own, so the split must be made here, on whole ones.
    """

    def __init__(self, corpus: Corpus, held_out_fraction: float, contexts: Contexts) -> None:
        self.name = f"{corpus.name}, {contexts.kind} contexts of its training part"
        self._corpus = corpus
        self._held_out_fraction = held_out_fraction
        self._contexts = contexts

    @property
    def fingerprint(self) -> str:
        """The corpus's, the split and the cutting."""
        cutting = self._contexts.model_dump(mode="json")
        return fingerprint_of(self._corpus.fingerprint, self._held_out_fraction, cutting)

    def parts(self) -> Sequence[CorpusPart]:
        """The corpus's own."""
        return self._corpus.parts()

    def read(self, part: CorpusPart) -> Iterator[Document | Rejection]:
        """The fragments of the part's training documents, in order."""
        for item in self._corpus.read(part):
            if isinstance(item, Rejection):
                yield item
            elif not is_held_out(item.raw, self._held_out_fraction):
                yield from self._fragments(item)

    def _fragments(self, document: Document) -> Iterator[Document]:
        start = 0
        for length in self._contexts.fragment_lengths(document.raw).tolist():
            identity = f"{document.id}#{start}" if start else document.id
            yield Document(id=identity, raw=document.raw[start : start + length])
            start += length

    def describe(self) -> dict[str, Any]:
        """Adds how documents are cut."""
        return super().describe() | {"contexts": self._contexts.model_dump(mode="json")}
