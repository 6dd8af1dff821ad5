"""The pipeline of ``prepare``: three datatrove steps, from a corpus part to a shard.

``ReadBlocks`` → ``CompressBlocks`` → ``WriteShard``. What passes between them are blocks of about
a megabyte: a pipeline hop per document would cost more than compressing a small one does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from datatrove.pipeline.base import PipelineStep

from proxylm.compressors.contract import CannotCompress, CompressedView, Compressor
from proxylm.corpus.contract import Corpus, CorpusPart
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.reasons import RejectionReason
from proxylm.corpus.split import is_held_out
from proxylm.data.store.manifest import Manifest
from proxylm.data.store.shard_files import Header, bytes_column, map_batch, text_at
from proxylm.data.store.writer import ShardRows, ShardWriter, write_record
from proxylm.inputs import as_symbols

BLOCK_BYTES = 1 << 20
"""A block is passed on when its documents reach this size."""

_MANY_SYMBOLS = 1 << 16


class DocumentSource(ABC):
    """Where a shard's documents come from; pickles cheaply."""

    @property
    @abstractmethod
    def part_bytes(self) -> Sequence[int]:
        """Bytes of each part, for progress."""

    @abstractmethod
    def read(self, rank: int) -> Iterator[Document | Rejection]:
        """What part ``rank`` holds, in order."""


@dataclass(frozen=True, slots=True)
class CorpusSource(DocumentSource):
    """Documents of a corpus."""

    corpus: Corpus
    parts: Sequence[CorpusPart]

    @property
    def part_bytes(self) -> Sequence[int]:
        """Stored bytes of each part."""
        return [part.num_bytes for part in self.parts]

    def read(self, rank: int) -> Iterator[Document | Rejection]:
        """Read one part of the corpus."""
        return self.corpus.read(self.parts[rank])


@dataclass(frozen=True, slots=True)
class StoredSource(DocumentSource):
    """Documents of a finished store: its raw files, for one more view beside them."""

    folder: Path
    manifest: Manifest

    @property
    def part_bytes(self) -> Sequence[int]:
        """Raw bytes of each shard."""
        return [shard.num_bytes for shard in self.manifest.shards]

    def read(self, rank: int) -> Iterator[Document | Rejection]:
        """Read one raw file."""
        shard = self.manifest.shards[rank]
        header = Header(store=self.manifest.fingerprint, shard=rank)
        batch = map_batch(self.folder, shard.file, header, shard.rows)
        path = self.folder / shard.file.name
        column = bytes_column(path, batch)
        for row in range(batch.num_rows):
            yield Document(id=text_at(path, batch, "id", row), raw=column.row(row).tobytes())


class ViewSource(ABC):
    """How one view's symbols are obtained for documents."""

    @abstractmethod
    def encode(self, documents: Sequence[Document]) -> list[CompressedView | CannotCompress]:
        """One compressed view, or the reason why there is none, per document."""

    @abstractmethod
    def memory_for(self, num_bytes: int) -> int:
        """Bytes of memory that encoding a document of ``num_bytes`` takes, at most."""


@dataclass(frozen=True, slots=True)
class CompressorSource(ViewSource):
    """A view computed by a compressor."""

    compressor: Compressor

    def encode(self, documents: Sequence[Document]) -> list[CompressedView | CannotCompress]:
        """Compress each document on its own."""
        views = self.compressor.encode([document.raw for document in documents])
        return [_narrowed(view) for view in views]

    def memory_for(self, num_bytes: int) -> int:
        """As the compressor says."""
        return self.compressor.memory_for(num_bytes)


@dataclass(frozen=True, slots=True)
class GivenSource(ViewSource):
    """A view whose symbols came with the documents."""

    symbol_count: int

    def encode(self, documents: Sequence[Document]) -> list[CompressedView | CannotCompress]:
        """Take the symbols as they are; absent or wrong ones leave the document out."""
        return [self._take(document) for document in documents]

    def memory_for(self, num_bytes: int) -> int:
        """None: they are there."""
        return 0

    def _take(self, document: Document) -> CompressedView | CannotCompress:
        symbols = document.symbols
        if symbols is None:
            return CannotCompress(reason=RejectionReason.BAD_SYMBOLS, detail="no symbols given")
        try:
            return CompressedView(symbols=as_symbols(symbols, self.symbol_count))
        except ValueError as error:
            return CannotCompress(reason=RejectionReason.BAD_SYMBOLS, detail=str(error))


@dataclass(slots=True)
class Block:
    """Documents on their way, with what was left out among them."""

    documents: list[Document] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    views: dict[str, list[CompressedView]] = field(default_factory=dict)


class ReadBlocks(PipelineStep):
    """Reads one part and passes its documents on in blocks."""

    name, type = "documents", "reader"

    def __init__(self, source: DocumentSource):
        super().__init__()
        self.source = source

    def run(
        self, data: Iterable[Block] | None = None, rank: int = 0, world_size: int = 1
    ) -> Iterator[Block]:
        """Yield the blocks of part ``rank``."""
        block, num_bytes = Block(), 0
        for item in self.source.read(rank):
            if isinstance(item, Rejection):
                block.rejections.append(item)
                continue
            block.documents.append(item)
            num_bytes += len(item.raw)
            if num_bytes >= BLOCK_BYTES:
                yield block
                block, num_bytes = Block(), 0
        yield block


class CompressBlocks(PipelineStep):
    """Adds every view to each block; documents that a view cannot represent are left out."""

    name, type = "views", "compressor"

    def __init__(self, sources: dict[str, ViewSource]):
        super().__init__()
        self.sources = sources

    def run(
        self, data: Iterable[Block] | None = None, rank: int = 0, world_size: int = 1
    ) -> Iterator[Block]:
        """Yield each block with its views, row for row."""
        for block in data or ():
            encoded = {
                name: source.encode(block.documents) for name, source in self.sources.items()
            }
            complete = Block(rejections=block.rejections, views={name: [] for name in encoded})
            for row, document in enumerate(block.documents):
                results = {name: views[row] for name, views in encoded.items()}
                rejection = _first_rejection(document, results)
                if rejection:
                    complete.rejections.append(rejection)
                    continue
                complete.documents.append(document)
                for name, view in results.items():
                    assert isinstance(view, CompressedView)
                    complete.views[name].append(view)
            yield complete


class WriteShard(PipelineStep):
    """Collects one part's blocks, writes its files, then the record that they are complete."""

    name, type = "shard", "writer"

    def __init__(self, writer: ShardWriter, records: Path, held_out_fraction: float):
        super().__init__()
        self.writer = writer
        self.records = records
        self.held_out_fraction = held_out_fraction

    def run(
        self, data: Iterable[Block] | None = None, rank: int = 0, world_size: int = 1
    ) -> Iterator[Block]:
        """Write shard ``rank``; passes nothing on."""
        rows = ShardRows(list(self.writer.views))
        for block in data or ():
            for rejection in block.rejections:
                rows.reject(rejection)
            for row, document in enumerate(block.documents):
                views = {name: column[row] for name, column in block.views.items()}
                rows.add(document, is_held_out(document.raw, self.held_out_fraction), views)
        write_record(record_path(self.records, rank), self.writer.write(rank, rows))
        yield from ()


def record_path(records: Path, rank: int) -> Path:
    """Where the record of a finished shard lies while the store is unfinished."""
    return records / f"{rank:05d}.json"


def _narrowed(view: CompressedView | CannotCompress) -> CompressedView | CannotCompress:
    """A view that waits for its shard to be written: many symbols in half the memory."""
    if isinstance(view, CannotCompress) or len(view.symbols) < _MANY_SYMBOLS:
        return view
    if view.symbols.max() > np.iinfo(np.uint16).max:
        return view
    return replace(view, symbols=view.symbols.astype(np.uint16))


def _first_rejection(
    document: Document, results: dict[str, CompressedView | CannotCompress]
) -> Rejection | None:
    for name, result in results.items():
        if isinstance(result, CannotCompress):
            given = result.reason == RejectionReason.BAD_SYMBOLS
            detail = f"view '{name}', {result.reason} {result.detail}".rstrip()
            reason = RejectionReason.BAD_SYMBOLS if given else RejectionReason.CANNOT_COMPRESS
            return Rejection(id=document.id, reason=reason, detail=detail)
    return None
