"""What a compressor makes of documents: counts and the rate ρ, with room for an observer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from proxylm.compressors.contract import CompressedView, Compressor
from proxylm.corpus.contract import Corpus
from proxylm.corpus.split import split_documents
from proxylm.errors import DataError

BATCH_DOCUMENTS = 64
BATCH_BYTES = 8 << 20
"""A batch ends with the document that reaches either limit."""

Observer = Callable[[Sequence[bytes], Sequence[CompressedView]], None]
"""Sees documents with their views, batch by batch."""


def measure_held_out(
    compressor: Compressor, corpus: Corpus, held_out: float, observer: Observer | None = None
) -> dict[str, Any]:
    """``measure`` of a corpus's held-out documents, with the corpus's name.

    Raises:
        DataError: no document is held out.
    """
    documents = split_documents(corpus, held_out=True, fraction=held_out)
    counts = measure(compressor, (document.raw for document in documents), observer)
    if not counts["documents"]:
        raise DataError(f"{corpus.name}: no held-out document to measure; raise --held-out")
    return {"name": corpus.name, **counts}


def measure(
    compressor: Compressor, documents: Iterable[bytes], observer: Observer | None = None
) -> dict[str, Any]:
    """Documents, rejected ones, bytes, symbols and ρ (``bytes_per_symbol``, None of nothing).

    Args:
        compressor: what compresses them.
        documents: read once, batch by batch.
        observer: is shown those that can be compressed.
    """
    counts = {"documents": 0, "rejected": 0, "num_bytes": 0, "symbols": 0}
    for batch in _batches(documents):
        results = zip(batch, compressor.encode(batch), strict=True)
        done = [(raw, view) for raw, view in results if isinstance(view, CompressedView)]
        counts["documents"] += len(done)
        counts["rejected"] += len(batch) - len(done)
        counts["num_bytes"] += sum(len(raw) for raw, _ in done)
        counts["symbols"] += sum(len(view.symbols) for _, view in done)
        if observer is not None:
            observer([raw for raw, _ in done], [view for _, view in done])
    rate = counts["num_bytes"] / counts["symbols"] if counts["symbols"] else None
    return {**counts, "bytes_per_symbol": rate}


def _batches(documents: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    num_bytes = 0
    for document in documents:
        batch.append(document)
        num_bytes += len(document)
        if len(batch) == BATCH_DOCUMENTS or num_bytes >= BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch
