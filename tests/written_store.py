"""The plain way to a store: rows in memory, written shard after shard, with nothing in between.

It is what the pipeline is compared with, and how tests make a store of any rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from proxylm.compressors.contract import CompressedView
from proxylm.corpus.document import Document, Rejection
from proxylm.data.store.manifest import CorpusRecord, Manifest, ViewRecord, write_manifest
from proxylm.data.store.writer import DocumentGroup, ShardWriter, store_fingerprint


@dataclass
class ShardRows:
    """The documents of one shard so far, and which of them are held out."""

    view_names: Sequence[str]
    group: DocumentGroup = field(default_factory=DocumentGroup)
    held_out: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.group.views = {name: [] for name in self.view_names}

    def add(self, document: Document, held_out: bool, views: dict[str, CompressedView]) -> None:
        own = {name: [views[name]] for name in self.view_names}
        self.group.extend(DocumentGroup(documents=[document], views=own))
        self.held_out.append(held_out)

    def reject(self, rejection: Rejection) -> None:
        self.group.left_out.add(rejection)


def write_store(
    folder: Path,
    shards: Sequence[ShardRows],
    views: dict[str, ViewRecord],
    *,
    corpus: CorpusRecord,
    held_out_fraction: float,
) -> Manifest:
    folder.mkdir(parents=True, exist_ok=True)
    name = store_fingerprint(corpus.fingerprint, held_out_fraction, views)
    writer = ShardWriter(folder=folder, store_fingerprint=name, views=views)
    records = [writer.write(i, [(rows.group, rows.held_out)]) for i, rows in enumerate(shards)]
    manifest = Manifest(
        fingerprint=name,
        corpus=corpus,
        held_out_fraction=held_out_fraction,
        shards=[record.raw for record in records if record.raw is not None],
        views=views,
        view_shards={name: [record.views[name] for record in records] for name in views},
    )
    write_manifest(folder, manifest)
    return manifest
