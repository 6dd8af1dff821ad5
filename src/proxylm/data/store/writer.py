"""Writing shards: the documents of one corpus part become one raw file and one file per view.

``ShardWriter`` checks them group by group, writes the files and returns the record that the
manifest will hold. A shard may be larger than memory: a compressed file of records is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import CompressedView
from proxylm.config import Config
from proxylm.corpus.document import Document
from proxylm.corpus.left_out import LeftOut
from proxylm.data.store.manifest import (
    RawShard,
    ViewRecord,
    ViewShard,
)
from proxylm.data.store.shard_files import SEGMENT_COLUMNS, Header, RawColumns, ViewColumns
from proxylm.errors import DamagedFileError, DataError
from proxylm.files import read_json, write_json
from proxylm.fingerprint import fingerprint_of
from proxylm.inputs import as_integers, as_symbols

_STORED_BELOW = 1 << 32
"""Lengths and counts are stored as uint32."""


@dataclass(slots=True, kw_only=True)
class DocumentGroup:
    """Some documents of one part, in order.

    Attributes:
        documents: those that every view can represent.
        views: for each view by name, its form of each of the documents.
        left_out: counts the others.
    """

    documents: list[Document] = field(default_factory=list)
    views: dict[str, list[CompressedView]] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)

    def extend(self, later: DocumentGroup) -> None:
        """Append the documents that follow."""
        self.documents += later.documents
        for name, views in later.views.items():
            self.views.setdefault(name, []).extend(views)
        self.left_out.update(later.left_out)


class ShardRecord(Config):
    """What was written for one shard; kept beside the work until the manifest takes it over."""

    raw: RawShard | None
    """None where only views were added to a store that has its raw files."""
    views: dict[str, ViewShard]


def write_record(path: Path, record: ShardRecord) -> None:
    """Write a shard's record, atomically and with its own checksum."""
    values = record.model_dump(mode="json")
    write_json(path, {"record": values, "checksum": fingerprint_of(values)})


def read_record(path: Path) -> ShardRecord:
    """Read a shard's record.

    Raises:
        DamagedFileError: it is damaged, or no such record.
    """
    stored = read_json(path)
    try:
        record = ShardRecord.model_validate(stored["record"])
        if stored["checksum"] == fingerprint_of(stored["record"]):
            return record
    except (ValueError, KeyError, TypeError):
        pass
    raise DamagedFileError(f"{path}: damaged, not the record of a shard")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWriter:
    """Writes shards of one store. ``views`` are the views whose files are written."""

    folder: Path
    store_fingerprint: str
    views: dict[str, ViewRecord]
    with_raw: bool = True

    def write(
        self, shard: int, groups: Iterable[tuple[DocumentGroup, Sequence[bool]]]
    ) -> ShardRecord:
        """Write one shard's files, each atomically, and with a few groups in memory at a time.

        Args:
            shard: its number.
            groups: its documents with their views, and which of them are kept out of training.

        Raises:
            DataError: a compressor gave symbols, anchors or segments that cannot be right, or
                has none for a document that stands in the raw files already.
        """
        draft = _Draft(self)
        for group, held_out in groups:
            draft.extend(group, np.array(held_out, bool))
        return draft.write(shard)


@dataclass(slots=True)
class _Sum:
    """Of all documents, and of those that are held out."""

    total: int = 0
    held_out: int = 0

    def add(self, numbers: Sequence[int], is_held_out: NDArray[np.bool_]) -> None:
        self.total += sum(numbers)
        self.held_out += int(np.array(numbers, np.int64)[is_held_out].sum())


class _Draft:
    """A shard that is being collected; what the manifest says of it is counted on the way."""

    def __init__(self, writer: ShardWriter) -> None:
        self._writer = writer
        self._check = ViewCheck(writer.views)
        self._raw = RawColumns(writer.folder)
        self._views = {
            name: ViewColumns(record, writer.folder) for name, record in writer.views.items()
        }
        self._left_out = LeftOut()
        self._rows, self._num_bytes = _Sum(), _Sum()
        self._symbols = {name: _Sum() for name in writer.views}
        self._anchors = Counter[str]()

    def extend(self, group: DocumentGroup, held_out: NDArray[np.bool_]) -> None:
        writer = self._writer
        if not writer.with_raw and group.left_out:
            example = next(iter(group.left_out.examples.values()))
            raise DataError(
                f"{writer.folder}: this view cannot be added, the store holds a document that it "
                f"cannot represent ({example}); prepare it together with the others in a new folder"
            )
        self._check(group)
        self._left_out.update(group.left_out)
        raw = [document.raw for document in group.documents]
        if writer.with_raw:
            self._raw.extend([document.id for document in group.documents], raw, held_out)
            self._rows.add([1] * len(raw), held_out)
            self._num_bytes.add([len(one) for one in raw], held_out)
        for name, columns in self._views.items():
            views = group.views[name]
            columns.extend(views)
            self._symbols[name].add([len(view.symbols) for view in views], held_out)
            self._anchors[name] += sum(len(view.anchors) for view in views)

    def write(self, shard: int) -> ShardRecord:
        raw = self._write_raw(shard) if self._writer.with_raw else None
        views = {name: self._write_view(shard, name) for name in self._views}
        return ShardRecord(raw=raw, views=views)

    def _write_raw(self, shard: int) -> RawShard:
        header = Header(store=self._writer.store_fingerprint, shard=shard)
        path = self._writer.folder / f"raw-{shard:05d}.arrow"
        return RawShard(
            file=self._raw.write(path, header),
            rows=self._rows.total,
            held_out_rows=self._rows.held_out,
            num_bytes=self._num_bytes.total,
            held_out_bytes=self._num_bytes.held_out,
            rejected=self._left_out.to_json(),
            rejected_examples=dict(sorted(self._left_out.examples.items())),
        )

    def _write_view(self, shard: int, name: str) -> ViewShard:
        writer = self._writer
        header = view_header(writer.store_fingerprint, shard, name, writer.views[name])
        path = writer.folder / f"{name}-{shard:05d}.arrow"
        return ViewShard(
            file=self._views[name].write(path, header),
            symbols=self._symbols[name].total,
            held_out_symbols=self._symbols[name].held_out,
            anchors=self._anchors[name],
        )


class ViewCheck:
    """Refuses views that cannot be right, group by group of documents that stand together.

    Args:
        records: what each view is.
    """

    def __init__(self, records: dict[str, ViewRecord]) -> None:
        self._records = records
        self._first: dict[str, CompressedView] = {}

    def __call__(self, group: DocumentGroup) -> None:
        """Check the views of some documents.

        Raises:
            DataError: names the view, the document and what is wrong.
        """
        num_bytes = [len(document.raw) for document in group.documents]
        for name, record in self._records.items():
            views = group.views[name]
            if views:
                self._first.setdefault(name, views[0])
            mistake = find_mistake(views, num_bytes, record, self._first.get(name))
            if mistake:
                row, message = mistake
                raise DataError(f"view '{name}', document '{group.documents[row].id}': {message}")


def view_header(store: str, shard: int, name: str, record: ViewRecord) -> Header:
    """The header of one view's file."""
    return Header(
        store=store,
        shard=shard,
        view=name,
        compressor_fingerprint=record.compressor_fingerprint,
        symbol_count=record.symbol_count,
    )


def find_mistake(
    views: Sequence[CompressedView],
    num_bytes: Sequence[int],
    record: ViewRecord,
    first: CompressedView | None = None,
) -> tuple[int, str] | None:
    """The first row whose compressed form cannot be right, and why; None if all are well.

    Checked over many rows at once: document by document it would cost as much as fast compressors
    do.

    Args:
        views: one per row.
        num_bytes: bytes of each row's document.
        record: what the view is.
        first: the view that the others have the same columns as; default the first of them.
    """
    for row, view in enumerate(views):
        wrong = _wrong_values(view, record) or _wrong_segments(
            view, first or views[0], num_bytes[row]
        )
        if wrong:
            return row, wrong
    return _find_wrong_anchor(views, num_bytes)


def _wrong_values(view: CompressedView, record: ViewRecord) -> str | None:
    """What the files could not hold as it is: they are written without a further look."""
    try:
        as_symbols(view.symbols, record.symbol_count)
        for name in SEGMENT_COLUMNS:
            values = getattr(view, name)
            if values is not None:
                as_integers(values, _STORED_BELOW, kind=name)
    except ValueError as error:
        return str(error)
    dtype = view.anchors.dtype
    return None if np.issubdtype(dtype, np.integer) else f"anchors are {dtype}, not integers"


def _wrong_segments(view: CompressedView, first: CompressedView, num_bytes: int) -> str | None:
    lengths, counts = view.segment_lengths, view.segment_symbol_counts
    if (lengths is None) != (first.segment_lengths is None):
        return "segment lengths are there for some documents only"
    if (counts is None) != (first.segment_symbol_counts is None):
        return "symbols per segment are there for some documents only"
    if lengths is not None and lengths.sum() != num_bytes:
        return f"segments of {lengths.sum()} bytes, not {num_bytes}"
    if counts is not None and counts.sum() != len(view.symbols):
        return f"segments of {counts.sum()} symbols, not {len(view.symbols)}"
    if counts is not None and (lengths is None or len(lengths) != len(counts)):
        return "symbols per segment do not fit the segment lengths"
    return None


def _find_wrong_anchor(
    views: Sequence[CompressedView], num_bytes: Sequence[int]
) -> tuple[int, str] | None:
    counts = np.array([len(view.anchors) for view in views], np.int64)
    if not counts.sum():
        return None
    anchors = np.concatenate([view.anchors for view in views]).astype(np.int64)
    owner = np.repeat(np.arange(len(views)), counts)
    before = np.zeros_like(anchors)
    same_document = owner[1:] == owner[:-1]
    before[1:][same_document] = anchors[:-1][same_document]
    ends = np.array([num_bytes, [len(view.symbols) for view in views]], np.int64).T
    wrong = ((anchors <= before) | (anchors >= ends[owner])).any(axis=1)
    if not wrong.any():
        return None
    return int(owner[wrong.argmax()]), "anchors do not rise strictly inside the document"


def store_fingerprint(
    corpus_fingerprint: str, held_out_fraction: float, views: dict[str, ViewRecord]
) -> str:
    """Name of a store: the corpus, its split, and the views that can reject documents."""
    fingerprints = {name: record.compressor_fingerprint for name, record in views.items()}
    return fingerprint_of(corpus_fingerprint, held_out_fraction, fingerprints)
