"""Writing shards: the documents of one corpus part become one raw file and one file per view.

``ShardWriter`` checks them, writes the files and returns the record that the manifest will hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from proxylm.compressors.contract import CompressedView
from proxylm.config import Config
from proxylm.corpus.document import Document
from proxylm.corpus.left_out import LeftOut
from proxylm.data.store.manifest import (
    RawShard,
    ViewRecord,
    ViewShard,
)
from proxylm.data.store.shard_files import (
    SEGMENT_COLUMNS,
    Header,
    write_raw_file,
    write_view_file,
)
from proxylm.errors import DamagedFileError, DataError
from proxylm.files import read_json, write_json
from proxylm.fingerprint import fingerprint_of
from proxylm.inputs import as_integers, as_symbols

_STORED_BELOW = 1 << 32
"""Lengths and counts are stored as uint32."""


@dataclass(slots=True, kw_only=True)
class DocumentGroup:
    """Some documents of one part, in order; all of a part are a shard.

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

    def write(self, shard: int, group: DocumentGroup, held_out: Sequence[bool]) -> ShardRecord:
        """Write one shard's files, each atomically.

        Args:
            shard: its number.
            group: all its documents with their views.
            held_out: which of them are kept out of training.

        Raises:
            DataError: a compressor gave symbols, anchors or segments that cannot be right, or
                has none for a document that stands in the raw files already.
        """
        if not self.with_raw and group.left_out:
            example = next(iter(group.left_out.examples.values()))
            raise DataError(
                f"{self.folder}: this view cannot be added, the store holds a document that it "
                f"cannot represent ({example}); prepare it together with the others in a new folder"
            )
        check_views(self.views, group)
        raw = self._write_raw(shard, group, held_out) if self.with_raw else None
        views = {
            name: self._write_view(shard, name, group.views[name], held_out) for name in self.views
        }
        return ShardRecord(raw=raw, views=views)

    def _write_raw(self, shard: int, group: DocumentGroup, held_out: Sequence[bool]) -> RawShard:
        header = Header(store=self.store_fingerprint, shard=shard)
        path = self.folder / f"raw-{shard:05d}.arrow"
        ids = [document.id for document in group.documents]
        raw = [document.raw for document in group.documents]
        lengths = [len(one) for one in raw]
        return RawShard(
            file=write_raw_file(path, ids, raw, held_out, header),
            rows=len(ids),
            held_out_rows=sum(held_out),
            num_bytes=sum(lengths),
            held_out_bytes=_sum_where(lengths, held_out),
            rejected=group.left_out.to_json(),
            rejected_examples=dict(sorted(group.left_out.examples.items())),
        )

    def _write_view(
        self, shard: int, name: str, views: Sequence[CompressedView], held_out: Sequence[bool]
    ) -> ViewShard:
        record = self.views[name]
        header = view_header(self.store_fingerprint, shard, name, record)
        path = self.folder / f"{name}-{shard:05d}.arrow"
        lengths = [len(view.symbols) for view in views]
        return ViewShard(
            file=write_view_file(path, views, record, header),
            symbols=sum(lengths),
            held_out_symbols=_sum_where(lengths, held_out),
            anchors=sum(len(view.anchors) for view in views),
        )


def check_views(records: dict[str, ViewRecord], group: DocumentGroup) -> None:
    """Refuse views of a shard that cannot be right.

    Raises:
        DataError: names the view, the document and what is wrong.
    """
    num_bytes = [len(document.raw) for document in group.documents]
    for name, record in records.items():
        mistake = find_mistake(group.views[name], num_bytes, record)
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
    views: Sequence[CompressedView], num_bytes: Sequence[int], record: ViewRecord
) -> tuple[int, str] | None:
    """The first row whose compressed form cannot be right, and why; None if all are well.

    Checked over the whole shard at once: document by document it would cost as much as fast
    compressors do.
    """
    for row, view in enumerate(views):
        wrong = _wrong_values(view, record) or _wrong_segments(view, views[0], num_bytes[row])
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


def _sum_where(lengths: Sequence[int], chosen: Sequence[bool]) -> int:
    return sum(length for length, is_chosen in zip(lengths, chosen, strict=True) if is_chosen)


def store_fingerprint(
    corpus_fingerprint: str, held_out_fraction: float, views: dict[str, ViewRecord]
) -> str:
    """Name of a store: the corpus, its split, and the views that can reject documents."""
    fingerprints = {name: record.compressor_fingerprint for name, record in views.items()}
    return fingerprint_of(corpus_fingerprint, held_out_fraction, fingerprints)
