"""What ``prepare`` reports at its end: every document accounted for, sizes, rates, speed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proxylm.corpus.left_out import LeftOut
from proxylm.data.store.manifest import Manifest, RawShard


@dataclass(frozen=True, kw_only=True)
class ViewSummary:
    """One compressed view. ``bytes_per_symbol`` is the rate ρ, None for an empty view."""

    kind: str
    symbol_count: int
    compressor_fingerprint: str
    symbols: int
    held_out_symbols: int
    anchors: int
    bytes_per_symbol: float | None


@dataclass(frozen=True, kw_only=True)
class PrepareSummary:
    """The whole store, and what this run did for it.

    ``documents_in`` = ``documents_written`` + the sum of ``rejected``; ``skipped`` counts names in
    the corpus's folder that are skipped by rule (``Corpus.skipped``). ``processed_bytes`` are the
    raw bytes that this run read and compressed; parts that were finished before do not count.
    """

    folder: str
    documents_in: int
    documents_written: int
    rejected: dict[str, int]
    rejected_examples: dict[str, str]
    skipped: dict[str, int]
    num_bytes: int
    held_out_documents: int
    held_out_bytes: int
    shards: int
    views: dict[str, ViewSummary]
    processed_bytes: int
    seconds: float

    @property
    def left_out(self) -> LeftOut:
        """The rejected documents, with what helps."""
        return LeftOut(Counter(self.rejected), self.rejected_examples)

    @property
    def bytes_per_second(self) -> float:
        """Raw bytes processed by this run, per second."""
        return self.processed_bytes / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return asdict(self) | {"bytes_per_second": self.bytes_per_second}


def summarize(
    folder: Path, manifest: Manifest, *, processed_bytes: int, seconds: float
) -> PrepareSummary:
    """Add up a store's manifest."""
    shards = manifest.shards
    left_out = left_out_of(shards)
    written = sum(shard.rows for shard in shards)
    return PrepareSummary(
        folder=str(folder),
        documents_in=written + left_out.counts.total(),
        documents_written=written,
        rejected=left_out.to_json(),
        rejected_examples=dict(sorted(left_out.examples.items())),
        skipped=manifest.corpus.description.get("skipped", {}),
        num_bytes=sum(shard.num_bytes for shard in shards),
        held_out_documents=sum(shard.held_out_rows for shard in shards),
        held_out_bytes=sum(shard.held_out_bytes for shard in shards),
        shards=len(shards),
        views={name: _summarize_view(manifest, name) for name in manifest.views},
        processed_bytes=processed_bytes,
        seconds=seconds,
    )


def left_out_of(shards: Iterable[RawShard]) -> LeftOut:
    """What all of a store's shards left out."""
    total = LeftOut()
    for shard in shards:
        total.update(LeftOut(Counter(shard.rejected), shard.rejected_examples))
    return total


def _summarize_view(manifest: Manifest, name: str) -> ViewSummary:
    record, shards = manifest.views[name], manifest.view_shards[name]
    num_bytes = sum(shard.num_bytes for shard in manifest.shards)
    symbols = sum(shard.symbols for shard in shards)
    return ViewSummary(
        kind=record.kind,
        symbol_count=record.symbol_count,
        compressor_fingerprint=record.compressor_fingerprint,
        symbols=symbols,
        held_out_symbols=sum(shard.held_out_symbols for shard in shards),
        anchors=sum(shard.anchors for shard in shards),
        bytes_per_symbol=num_bytes / symbols if symbols else None,
    )
