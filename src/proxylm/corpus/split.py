"""The split into training and held-out documents: a hash of the bytes, nothing else.

Equal documents fall on the same side wherever they stand, so a copy in the training part can
never leak a held-out document, and adding files moves no document across.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import xxhash

from proxylm.corpus.contract import Corpus
from proxylm.corpus.document import Document
from proxylm.errors import UsageError

HELD_OUT_FRACTION = 0.02
"""Default share of documents kept for evaluation."""

SAMPLE_SEED = 1


def check_fraction(fraction: float) -> None:
    """Refuse a held-out share that is none (NaN would silently hold nothing out).

    Raises:
        UsageError: ``fraction`` is not a number from 0 to 1.
    """
    if not 0 <= fraction <= 1:
        raise UsageError(f"held-out fraction {fraction}: give a number from 0 to 1")


def is_held_out(raw: bytes, fraction: float = HELD_OUT_FRACTION) -> bool:
    """Whether a document is held out: XXH3-64 of its bytes, over 2^64, is below ``fraction``.

    >>> is_held_out(b"anything", 1.0), is_held_out(b"anything", 0.0)
    (True, False)
    """
    return xxhash.xxh3_64_intdigest(raw) / 2**64 < fraction


def split_documents(
    corpus: Corpus, *, held_out: bool, fraction: float = HELD_OUT_FRACTION
) -> Iterator[Document]:
    """The documents of one side of the split, in corpus order.

    Raises:
        UsageError: at once, if ``fraction`` is not a number from 0 to 1.
    """
    check_fraction(fraction)
    return (
        document
        for document in corpus.documents()
        if is_held_out(document.raw, fraction) == held_out
    )


def sample(
    documents: Iterable[Document], *, total_bytes: int, wanted_bytes: int
) -> Iterator[Document]:
    """About ``wanted_bytes`` of documents, spread evenly over a corpus of ``total_bytes``.

    Which ones is decided by their hash, with another seed than the split's, so that a sample of
    training documents is not taken from one end of the hash range.
    """
    share = wanted_bytes / max(1, total_bytes)
    for document in documents:
        if xxhash.xxh3_64_intdigest(document.raw, seed=SAMPLE_SEED) / 2**64 < share:
            yield document
