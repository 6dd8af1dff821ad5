"""A view store in memory, for tests: the attributes that mixing reads, nothing on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.data.batches import Loader
from proxylm.data.mixture import MixingConfig
from proxylm.data.packing.plan import Plan
from proxylm.data.packing.tables import StoreLike, ViewLike, source_tables


@dataclass(frozen=True, kw_only=True)
class MemoryColumn:
    values: NDArray[Any]
    offsets: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class MemoryView:
    symbol_lengths: NDArray[np.int64]
    columns: list[MemoryColumn]
    anchor_columns: list[MemoryColumn]


@dataclass(frozen=True, kw_only=True)
class MemoryStore:
    raw_lengths: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    raw_columns: list[MemoryColumn]


@dataclass(frozen=True, kw_only=True)
class MemoryDocument:
    raw: bytes
    symbols: tuple[int, ...]
    anchors: tuple[tuple[int, int], ...] = ()
    held_out: bool = False


def column(rows: Sequence[NDArray[Any]], dtype: Any, width: int = 1) -> MemoryColumn:
    lengths = [len(row) for row in rows]
    shape = (-1, width) if width > 1 else (-1,)
    joined = [np.asarray(row, dtype).reshape(shape) for row in rows]
    empty = np.empty((0, width) if width > 1 else 0, dtype)
    return MemoryColumn(
        values=np.concatenate([empty, *joined]), offsets=np.cumsum([0, *lengths], dtype=np.int64)
    )


def memory_store(
    documents: Sequence[MemoryDocument], *, shard_sizes: Sequence[int], dtype: Any = np.uint16
) -> tuple[MemoryStore, MemoryView]:
    """Documents as a store of shards of those sizes (which add up to the documents)."""
    assert sum(shard_sizes) == len(documents)
    ends = np.cumsum([0, *shard_sizes])
    shards = [documents[a:b] for a, b in pairwise(ends)]
    store = MemoryStore(
        raw_lengths=np.array([len(d.raw) for d in documents], np.int64),
        held_out=np.array([d.held_out for d in documents], bool),
        raw_columns=[
            column([np.frombuffer(d.raw, np.uint8) for d in shard], np.uint8) for shard in shards
        ],
    )
    view = MemoryView(
        symbol_lengths=np.array([len(d.symbols) for d in documents], np.int64),
        columns=[column([np.array(d.symbols) for d in shard], dtype) for shard in shards],
        anchor_columns=[
            column([np.array(d.anchors).reshape(-1, 2) for d in shard], np.uint32, 2)
            for shard in shards
        ],
    )
    return store, view


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


def memory_loader(
    sources: Sequence[tuple[StoreLike, ViewLike | None]],
    mixing: MixingConfig,
    *,
    context: int,
    contexts_per_step: int,
    total_steps: int,
    heads: int = 1,
    seed: int = 0,
    weights: Sequence[float] | None = None,
) -> Loader:
    """A loader over stores in memory."""
    plan = Plan(
        source_tables(sources),
        mixing,
        weights or [1.0] * len(sources),
        context=context,
        contexts_per_step=contexts_per_step,
        total_steps=total_steps,
        seed=seed,
    )
    return Loader(plan, context=context, contexts_per_step=contexts_per_step, heads=heads)
