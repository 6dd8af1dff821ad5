"""What may stand as a source, and stores in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory_store import disk_store, memory_store, random_documents, view_record

from proxylm.compressors.contract import CompressedView
from proxylm.data.batches import batches
from proxylm.data.lengths import lengths_store
from proxylm.data.memory import MemoryStore
from proxylm.data.mixture import Mixture
from proxylm.data.sources import Source, SourceConfig, data_fingerprint, open_sources
from proxylm.data.store.store import ViewStore
from proxylm.errors import DataError, UsageError

DOCUMENTS = random_documents(30, mean_bytes=200)
SIZES: dict[str, Any] = {"context": 64, "contexts_per_step": 4, "steps": 5, "seed": 1}


def test_a_store_its_folder_a_source_or_a_list_of_them_is_the_same(tmp_path: Path):
    path = disk_store(tmp_path / "store", DOCUMENTS)
    store = ViewStore.open(Path(path))
    ways: list[Any] = [
        *(path, Path(path), store, Source(store, "v"), Source(path)),
        *([store], (Source(path, weight=3),), SourceConfig(store=path, view="v")),
        memory_store(DOCUMENTS),
    ]
    first, *others = [batches(way, **SIZES) for way in ways]
    assert first.symbol_count == 5000 and first.vocabulary_size == 5320
    for other in others:
        assert (other[2].inputs == first[2].inputs).all()
        assert other.compressor_fingerprint == "a" * 32
    assert first.data_fingerprint == data_fingerprint([store])


def test_the_only_view_is_taken_where_one_is_needed():
    assert batches(memory_store(DOCUMENTS), Mixture.bytes_only(), **SIZES).symbol_count == 0
    two = MemoryStore.of(
        ["a"],
        [b"x" * 400],
        {name: (view_record(), [CompressedView(symbols=np.zeros(40, "u4"))]) for name in "vw"},
        [False],
    )
    with pytest.raises(UsageError, match=r"has several views \(v, w\); name one of them"):
        batches(two, **SIZES)
    assert batches(Source(two, "w"), Mixture.compressed_only(), **SIZES).symbol_count == 5000
    none = MemoryStore.of(["a"], [b"x" * 400], {}, [False])
    with pytest.raises(DataError, match="has no compressed view"):
        batches(none, **SIZES)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "no source is given"),
        (Source("store", weight=-1.0), "a weight must be a number from 0 on"),
        (Source("store", weight=float("nan")), "a weight must be a number from 0 on"),
        (Source("store", weight=float("inf")), "a weight must be a number from 0 on"),
        (Source("store", weight=0.0), "all weights are 0"),
        (7, "7: is no source; give what px.prepare gives"),
    ],
)
def test_what_is_no_source_is_refused_in_one_line(source: Any, message: str):
    with pytest.raises(UsageError, match=message) as caught:
        open_sources(source, needs_compressed=False)
    assert "\n" not in str(caught.value)


def test_an_unknown_view_is_refused_with_those_that_are_there():
    with pytest.raises(DataError, match=r"no view 'w' .*\(it has: v\)"):
        batches(Source(memory_store(DOCUMENTS), "w"), **SIZES)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("columns", "symbols are int64, not uint16 or uint32"),
        ("anchor_columns", "anchors are int64, not uint32"),
        ("raw_columns", "raw bytes are int64, not uint8"),
    ],
)
def test_columns_of_other_types_are_refused(columns: str, message: str):
    store = memory_store(DOCUMENTS)
    view = store.view("v")
    of_view = columns != "raw_columns"
    column = getattr(view if of_view else store, columns)[0]
    wide = {columns: [replace(column, values=column.values.astype(np.int64))]}
    wrong = (
        replace(store, views={"v": replace(view, **wide)}) if of_view else replace(store, **wide)
    )
    with pytest.raises(DataError, match=message):
        batches(wrong, **SIZES)


def test_a_store_in_memory_reads_like_one_on_disk(tmp_path: Path):
    disk = ViewStore.open(Path(disk_store(tmp_path / "store", DOCUMENTS)))
    memory = memory_store(DOCUMENTS)
    assert (memory.document_count, memory.view_names) == (30, ["v"])
    for name in ("raw_lengths", "held_out"):
        assert (getattr(memory, name) == getattr(disk, name)).all()
    for held_out in (True, False):
        ours, theirs = (store.ordinals(held_out=held_out) for store in (memory, disk))
        assert ours.tolist() == theirs.tolist()
    ours, theirs = memory.view("v"), disk.view("v")
    assert (ours.symbol_lengths == theirs.symbol_lengths).all()
    for ordinal in range(30):
        assert memory.document_id(ordinal) == disk.document_id(ordinal)
        assert memory.raw(ordinal).tobytes() == disk.raw(ordinal).tobytes()
        assert ours.symbols(ordinal).tolist() == theirs.symbols(ordinal).tolist()
        assert ours.anchors(ordinal).tolist() == theirs.anchors(ordinal).tolist()
        assert ours.segment_lengths(ordinal) is theirs.segment_lengths(ordinal) is None


def test_segments_are_kept_in_memory():
    content = CompressedView(
        symbols=np.arange(5, dtype=np.uint32),
        segment_lengths=np.array([7, 9], np.uint32),
        segment_symbol_counts=np.array([2, 3], np.uint32),
    )
    view = MemoryStore.of(["a"], [b"x" * 16], {"n": (view_record(), [content])}, [False]).view("n")
    assert view.segment_lengths(0).tolist() == [7, 9]
    assert view.segment_symbol_counts(0).tolist() == [2, 3]


def test_the_fingerprint_of_a_store_in_memory_names_its_documents_and_its_split():
    def fingerprint(ids: list[str], raw: list[bytes], held_out: list[bool]) -> str:
        return MemoryStore.of(ids, raw, {}, held_out).fingerprint

    names = [
        fingerprint(["a", "b"], [b"one", b"two"], [False, False]),
        fingerprint(["a", "c"], [b"one", b"two"], [False, False]),
        fingerprint(["a", "b"], [b"on", b"etwo"], [False, False]),
        fingerprint(["a", "b"], [b"one", b"two"], [False, True]),
    ]
    assert len(set(names)) == 4
    assert fingerprint(["a", "b"], [b"one", b"two"], [False, False]) == names[0]


def test_documents_of_different_numbers_are_refused():
    with pytest.raises(UsageError, match="differ in number"):
        MemoryStore.of(["a", "b"], [b"one"], {}, [False])


def test_lengths_alone_are_counted_and_never_read():
    data = batches(lengths_store(np.full(200, 500), rho=3.7), **SIZES)
    assert data.statistics(0).documents_started > 0
    with pytest.raises(UsageError, match="lengths alone: they can be counted, not shown"):
        data.batch(0)
    anchors = lengths_store(np.array([128, 129]), rho=1.0).view("lengths").anchors
    assert anchors(0).tolist() == [[64, 64]], "inside the document"
    assert anchors(1).tolist() == [[64, 64], [128, 128]]
