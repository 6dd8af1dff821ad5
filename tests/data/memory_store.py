"""Small stores in memory and on disk, of several shards, and batches that nothing checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from proxylm.compressors.contract import CompressedView
from proxylm.corpus.document import Document
from proxylm.data.batches import Batches
from proxylm.data.memory import MemoryStore
from proxylm.data.mixture import Mixture
from proxylm.data.sources import OpenSource
from proxylm.data.store.column import Column
from proxylm.data.store.manifest import CorpusRecord, ViewRecord
from written_store import ShardRows, write_store

VIEW = "v"


@dataclass(frozen=True, kw_only=True)
class MemoryDocument:
    raw: bytes
    symbols: tuple[int, ...]
    anchors: tuple[tuple[int, int], ...] = ()
    held_out: bool = False

    @property
    def view(self) -> CompressedView:
        return CompressedView(
            symbols=np.array(self.symbols, np.uint32),
            anchors=np.array(self.anchors, np.uint32).reshape(-1, 2),
        )


def view_record(*, symbol_count: int = 5000, fingerprint: str = "a" * 32) -> ViewRecord:
    return ViewRecord(
        kind="given",
        compressor_fingerprint=fingerprint,
        symbol_count=symbol_count,
        reversible=False,
        compressor_folder=None,
    )


def memory_store(
    documents: Sequence[MemoryDocument],
    *,
    shard_sizes: Sequence[int] | None = None,
    symbol_count: int = 5000,
) -> MemoryStore:
    """Documents as a store, of one shard or of shards of those sizes."""
    store = MemoryStore.of(
        [f"d{number}" for number in range(len(documents))],
        [document.raw for document in documents],
        {VIEW: (view_record(symbol_count=symbol_count), [one.view for one in documents])},
        [document.held_out for document in documents],
    )
    if shard_sizes is None:
        return store
    view = store.view(VIEW)
    sharded = replace(
        view,
        columns=shards(view.columns[0], shard_sizes),
        anchor_columns=shards(view.anchor_columns[0], shard_sizes),
    )
    raw = shards(store.raw_columns[0], shard_sizes)
    return replace(store, raw_columns=raw, views={VIEW: sharded})


def shards(column: Column, sizes: Sequence[int]) -> list[Column]:
    ends = np.cumsum([0, *sizes])
    assert ends[-1] == len(column.lengths)
    return [
        Column(
            values=column.values[column.offsets[first] : column.offsets[end]].copy(),
            offsets=column.offsets[first : end + 1] - column.offsets[first],
        )
        for first, end in pairwise(ends)
    ]


def disk_store(
    folder: Path,
    documents: list[MemoryDocument],
    *,
    shards: int = 3,
    symbol_count: int = 5000,
    fingerprint: str = "a" * 32,
) -> str:
    """A store on disk of those documents with one view, 'v'."""
    record = view_record(symbol_count=symbol_count, fingerprint=fingerprint)
    rows = [ShardRows(view_names=["v"]) for _ in range(shards)]
    for index, document in enumerate(documents):
        rows[index * shards // len(documents)].add(
            Document(id=f"d{index}", raw=document.raw), document.held_out, {"v": document.view}
        )
    corpus = CorpusRecord(name="test", fingerprint="x")
    write_store(folder, rows, {"v": record}, corpus=corpus, held_out_fraction=0.1)
    return str(folder)


def random_documents(
    count: int, *, mean_bytes: float, seed: int = 0, rho: float = 3.0, spacing: int = 8
) -> list[MemoryDocument]:
    """Documents of random content with anchors every ``spacing`` symbols; one in ten held out."""
    generator = np.random.default_rng(seed)
    documents = []
    for _ in range(count):
        num_bytes = 1 + int(generator.exponential(mean_bytes))
        num_symbols = max(1, round(num_bytes / rho))
        cuts = [(s * num_bytes // num_symbols, s) for s in range(spacing, num_symbols, spacing)]
        documents.append(
            MemoryDocument(
                raw=generator.integers(0, 256, num_bytes, dtype=np.uint8).tobytes(),
                symbols=tuple(generator.integers(0, 5000, num_symbols).tolist()),
                anchors=tuple(cuts),
                held_out=bool(generator.random() < 0.1),
            )
        )
    return documents


def unchecked_batches(
    stores: Sequence[MemoryStore],
    mixture: Mixture,
    *,
    weights: Sequence[float] | None = None,
    steps: int,
    **sizes: Any,
) -> Batches:
    """Batches over stores of one view each, however small they are."""
    sources = [
        OpenSource(name=repr(store), store=store, view_name=store.view_names[0], weight=weight)
        for store, weight in zip(stores, weights or [1.0] * len(stores), strict=True)
    ]
    return Batches(sources, mixture, total_steps=steps, **sizes)
