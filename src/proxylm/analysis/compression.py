"""What a compressor makes of documents: counts and the rate ρ, with room for an observer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from proxylm.compressors.contract import CompressedView, Compressor
from proxylm.corpus.contract import Corpus
from proxylm.corpus.document import Document
from proxylm.corpus.left_out import LeftOut, nothing_left
from proxylm.corpus.split import split_documents
from proxylm.groups import in_groups
from proxylm.progress import TellCount, untold

BATCH_DOCUMENTS = 64
BATCH_BYTES = 8 << 20
"""How much a batch may hold; a short document counts as its share of the bytes."""

Observer = Callable[[Sequence[bytes], Sequence[CompressedView]], None]
"""Sees documents with their views, batch by batch."""


def measure_held_out(
    compressor: Compressor,
    corpus: Corpus,
    held_out: float,
    left_out: LeftOut,
    observer: Observer | None = None,
    progress: TellCount = untold,
) -> dict[str, Any]:
    """``measure`` of a corpus's held-out documents, with the corpus's name and what is left out.

    ``progress`` hears how many bytes of the corpus are read.

    Raises:
        DataError: no document is held out, or none of them can be compressed.
    """
    documents = split_documents(
        corpus, held_out=True, left_out=left_out, fraction=held_out, progress=progress
    )
    counts = measure(compressor, documents, left_out, observer)
    if not counts["documents"]:
        what = f"{corpus.name}: no held-out document can be compressed"
        raise nothing_left(what, left_out, "choose another compressor")
    return {"name": corpus.name, **counts, "left_out": left_out.to_json()}


def measure(
    compressor: Compressor,
    documents: Iterable[Document],
    left_out: LeftOut,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Documents, rejected ones, bytes, symbols and ρ (``bytes_per_symbol``, None of nothing).

    Args:
        compressor: what compresses them.
        documents: read once, batch by batch.
        left_out: counts the rejected ones.
        observer: is shown those that can be compressed.
    """
    counts = {"documents": 0, "rejected": 0, "num_bytes": 0, "symbols": 0}
    least = BATCH_BYTES / BATCH_DOCUMENTS
    for batch in in_groups(documents, lambda one: max(least, len(one.raw)), BATCH_BYTES):
        views = compressor.encode([document.raw for document in batch])
        done: list[tuple[bytes, CompressedView]] = []
        for document, view in zip(batch, views, strict=True):
            if isinstance(view, CompressedView):
                done.append((document.raw, view))
            else:
                left_out.add(view.rejection(document.id))
        counts["documents"] += len(done)
        counts["rejected"] += len(batch) - len(done)
        counts["num_bytes"] += sum(len(raw) for raw, _ in done)
        counts["symbols"] += sum(len(view.symbols) for _, view in done)
        if observer is not None:
            observer([raw for raw, _ in done], [view for _, view in done])
    rate = counts["num_bytes"] / counts["symbols"] if counts["symbols"] else None
    return {**counts, "bytes_per_symbol": rate}
