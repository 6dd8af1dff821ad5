"""The pipeline of ``prepare``: three datatrove steps, from a corpus part to a shard.

``ReadDocuments`` → ``CompressDocuments`` → ``WriteShard``. What passes between them are groups of
about a megabyte: a pipeline hop per document would cost more than compressing a small one does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.pipeline.base import PipelineStep

from proxylm.compressors.contract import CannotCompress, CompressedView, Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.corpus.contract import Corpus, CorpusPart
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.left_out import RejectionReason
from proxylm.corpus.split import is_held_out
from proxylm.data.store.manifest import Manifest
from proxylm.data.store.shard_files import Header, bytes_column, map_batch, text_at
from proxylm.data.store.writer import DocumentGroup, ShardWriter, write_record
from proxylm.inputs import as_symbols

GROUP_BYTES = 1 << 20
"""A group is passed on when its documents reach this size."""

_MANY_SYMBOLS = 1 << 16


class StoredCorpus(Corpus):
    """The documents of a finished store, for one more view beside them: a part per shard."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.name = manifest.corpus.name
        self._folder = folder
        self._manifest = manifest

    @property
    def fingerprint(self) -> str:
        """Of the corpus that the store was made from."""
        return self._manifest.corpus.fingerprint

    def parts(self) -> Sequence[CorpusPart]:
        """The store's shards."""
        return [
            CorpusPart(index=index, num_bytes=shard.num_bytes)
            for index, shard in enumerate(self._manifest.shards)
        ]

    def read(self, part: CorpusPart) -> Iterator[Document]:
        """Read one raw file."""
        shard = self._manifest.shards[part.index]
        header = Header(store=self._manifest.fingerprint, shard=part.index)
        batch = map_batch(self._folder, shard.file, header, shard.rows)
        path = self._folder / shard.file.name
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
    """A view computed by a compressor.

    Attributes:
        compressor: computes it.
        saved_at: the folder that another process loads it from (so that large files are mapped,
            not copied); None for one that cannot be loaded, which is pickled as it is.
    """

    compressor: Compressor
    saved_at: Path | None = None

    def __reduce__(self) -> tuple[Callable[..., CompressorSource], tuple[Any, ...]]:
        if self.saved_at is not None:
            return _loaded_source, (self.saved_at,)
        return CompressorSource, (self.compressor,)

    def encode(self, documents: Sequence[Document]) -> list[CompressedView | CannotCompress]:
        """Compress each document on its own."""
        views = self.compressor.views([document.raw for document in documents])
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


class ReadDocuments(PipelineStep):
    """Reads one part and passes its documents on in groups."""

    name, type = "documents", "reader"

    def __init__(self, corpus: Corpus, parts: Sequence[CorpusPart]):
        super().__init__()
        self.corpus = corpus
        self.parts = parts

    def run(
        self, data: Iterable[DocumentGroup] | None = None, rank: int = 0, world_size: int = 1
    ) -> Iterator[DocumentGroup]:
        """Yield the groups of part ``rank``."""
        group, num_bytes = DocumentGroup(), 0
        for item in self.corpus.read(self.parts[rank]):
            if isinstance(item, Rejection):
                group.left_out.add(item)
                continue
            group.documents.append(item)
            num_bytes += len(item.raw)
            if num_bytes >= GROUP_BYTES:
                yield group
                group, num_bytes = DocumentGroup(), 0
        yield group


class CompressDocuments(PipelineStep):
    """Adds every view to each group; documents that a view cannot represent are left out."""

    name, type = "views", "compressor"

    def __init__(self, sources: dict[str, ViewSource]):
        super().__init__()
        self.sources = sources

    def run(
        self, data: Iterable[DocumentGroup] | None = None, rank: int = 0, world_size: int = 1
    ) -> Iterator[DocumentGroup]:
        """Yield each group with its views, row for row."""
        for group in data or ():
            encoded = {
                name: source.encode(group.documents) for name, source in self.sources.items()
            }
            complete = DocumentGroup(views={name: [] for name in encoded}, left_out=group.left_out)
            for row, document in enumerate(group.documents):
                results = {name: views[row] for name, views in encoded.items()}
                rejection = _first_rejection(document, results)
                if rejection:
                    complete.left_out.add(rejection)
                    continue
                complete.documents.append(document)
                for name, view in results.items():
                    assert isinstance(view, CompressedView)
                    complete.views[name].append(view)
            yield complete


class WriteShard(PipelineStep):
    """Writes one part's groups into its files, then the record that they are complete."""

    name, type = "shard", "writer"

    def __init__(self, writer: ShardWriter, records: Path, held_out_fraction: float):
        super().__init__()
        self.writer = writer
        self.records = records
        self.held_out_fraction = held_out_fraction

    def run(
        self, data: Iterable[DocumentGroup] | None = None, rank: int = 0, world_size: int = 1
    ) -> Iterator[DocumentGroup]:
        """Write shard ``rank``; passes nothing on."""
        fraction = self.held_out_fraction
        flagged = (
            (group, [is_held_out(one.raw, fraction) for one in group.documents])
            for group in data or ()
        )
        write_record(record_path(self.records, rank), self.writer.write(rank, flagged))
        yield from ()


def record_path(records: Path, rank: int) -> Path:
    """Where the record of a finished shard lies while the store is unfinished."""
    return records / f"{rank:05d}.json"


def _loaded_source(folder: Path) -> CompressorSource:
    return CompressorSource(load_compressor(folder), folder)


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
