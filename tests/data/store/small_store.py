"""Small stores and corpora for the tests of the view store."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from proxylm.compressors.contract import CompressedView
from proxylm.corpus.document import Document, Rejection
from proxylm.data.store.manifest import CorpusRecord, Manifest, ViewRecord
from written_store import ShardRows, write_store

PAIRS = ViewRecord(
    kind="pairs",
    compressor_fingerprint="f" * 32,
    symbol_count=65_536,
    reversible=True,
    compressor_folder="compressors/pairs",
)
WIDE = PAIRS.model_copy(update={"symbol_count": 65_537, "compressor_fingerprint": "e" * 32})


def pair_view(raw: bytes) -> CompressedView:
    """Two bytes a symbol; cut after every fourth symbol."""
    symbols = np.frombuffer(raw + b"\0" * (len(raw) % 2), ">u2").astype(np.uint32)
    cuts = np.arange(4, len(symbols), 4, dtype=np.uint32)
    return CompressedView(symbols=symbols, anchors=np.stack([2 * cuts, cuts], axis=1))


def wide_view(raw: bytes) -> CompressedView:
    """One symbol a byte, shifted up to need more than 16 bits; segments of three bytes."""
    symbols = np.frombuffer(raw, np.uint8).astype(np.uint32) + 65_281
    lengths = [min(3, len(raw) - start) for start in range(0, len(raw), 3)]
    return CompressedView(
        symbols=symbols,
        segment_lengths=np.array(lengths, np.uint32),
        segment_symbol_counts=np.array(lengths, np.uint32),
    )


def some_documents(count: int, seed: int = 0) -> list[Document]:
    numbers = random.Random(seed)
    return [
        Document(id=f"file-{seed}/{i}.txt", raw=numbers.randbytes(numbers.randrange(1, 90)))
        for i in range(count)
    ]


def shard_of(documents: list[Document], *, rejected: int = 0) -> ShardRows:
    rows = ShardRows(["pairs", "wide"])
    for index, document in enumerate(documents):
        views = {"pairs": pair_view(document.raw), "wide": wide_view(document.raw)}
        rows.add(document, index % 3 == 0, views)
    for index in range(rejected):
        rows.reject(Rejection(id=f"bad-{index}", reason="empty"))
    return rows


def write_small_store(folder: Path, *, corpus: str = "c" * 32, seed: int = 0) -> Manifest:
    """Three shards, the middle one without rows."""
    shards = [
        shard_of(some_documents(5, seed), rejected=2),
        shard_of([]),
        shard_of(some_documents(4, seed + 1)),
    ]
    return write_store(
        folder,
        shards,
        {"pairs": PAIRS, "wide": WIDE},
        corpus=CorpusRecord(name="small", fingerprint=corpus),
        held_out_fraction=0.3,
    )
