"""The split into training and held-out documents: a hash of the bytes, nothing else.

Equal documents fall on the same side wherever they stand, so a copy in the training part can
never leak a held-out document, and adding files moves no document across.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import xxhash

from proxylm.corpus.contract import Corpus
from proxylm.corpus.document import Document
from proxylm.corpus.left_out import LeftOut, nothing_left
from proxylm.errors import DataError, UsageError
from proxylm.progress import TellCount, untold

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
    corpus: Corpus,
    *,
    held_out: bool,
    left_out: LeftOut,
    fraction: float = HELD_OUT_FRACTION,
    progress: TellCount = untold,
) -> Iterator[Document]:
    """The documents of one side of the split, in corpus order.

    Args:
        corpus: read once.
        held_out: which side.
        left_out: counts what the corpus holds and cannot be read as a document (of either side).
        fraction: share that is held out.
        progress: hears how many bytes of the corpus are read.

    Raises:
        UsageError: at once, if ``fraction`` is not a number from 0 to 1.
        DataError: at the end, if there was no document.
    """
    check_fraction(fraction)
    return _one_side(corpus, held_out, left_out, fraction, progress)


def _one_side(
    corpus: Corpus, held_out: bool, left_out: LeftOut, fraction: float, progress: TellCount
) -> Iterator[Document]:
    is_empty = True
    for document in corpus.documents(left_out, progress):
        if is_held_out(document.raw, fraction) == held_out:
            is_empty = False
            yield document
    if is_empty:
        side, share = ("held-out", "larger") if held_out else ("training", "smaller")
        what = f"{corpus.name}: its {side} part has no documents"
        raise nothing_left(what, left_out, f"give a larger corpus, or a {share} held-out share")


def training_sample(
    corpus: Corpus,
    *,
    wanted_bytes: int,
    fraction: float,
    left_out: LeftOut,
    progress: TellCount = untold,
) -> Iterator[Document]:
    """About ``wanted_bytes`` of the training documents, for a compressor to learn from.

    Args:
        corpus: read once.
        wanted_bytes: about how much is asked for; all of a smaller corpus.
        fraction: share of documents that is held out.
        left_out: counts what the corpus holds and cannot be read as a document.
        progress: hears how many bytes of the corpus are read.

    Raises:
        UsageError: ``fraction`` is not a number from 0 to 1.
        DataError: at the end, if there was no document.
    """
    documents = split_documents(
        corpus, held_out=False, left_out=left_out, fraction=fraction, progress=progress
    )
    total_bytes = sum(part.num_bytes for part in corpus.parts())
    is_empty = True
    for document in sample(documents, total_bytes=total_bytes, wanted_bytes=wanted_bytes):
        is_empty = False
        yield document
    if is_empty:
        raise DataError(
            f"{corpus.name}: no document falls into a sample of {wanted_bytes} bytes; raise "
            "sample_bytes (--sample-bytes)"
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
