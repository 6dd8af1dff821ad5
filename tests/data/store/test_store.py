"""The view store as a reader sees it, and as other tools see its files."""

from __future__ import annotations

import gc
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_store import pair_view, some_documents, wide_view, write_small_store

from proxylm.data.store import column as column_module
from proxylm.data.store.column import Column, GrowingColumn
from proxylm.data.store.manifest import CorpusRecord, read_manifest
from proxylm.data.store.store import ViewStore
from proxylm.errors import DataError
from written_store import write_store

DOCUMENTS = some_documents(5, 0) + some_documents(4, 1)
HELD_OUT = [True, False, False, True, False, True, False, False, True]


def test_every_row_of_every_view_reads_back(small_store):
    store = ViewStore.open(small_store, verify=True)
    assert store.document_count == 9
    assert store.view_names == ["pairs", "wide"]
    pairs, wide = store.view("pairs"), store.view("wide")
    for ordinal, document in enumerate(DOCUMENTS):
        expected_pairs, expected_wide = pair_view(document.raw), wide_view(document.raw)
        assert store.document_id(ordinal) == document.id
        assert store.raw(ordinal).tobytes() == document.raw
        np.testing.assert_array_equal(pairs.symbols(ordinal), expected_pairs.symbols)
        np.testing.assert_array_equal(pairs.anchors(ordinal), expected_pairs.anchors)
        np.testing.assert_array_equal(wide.symbols(ordinal), expected_wide.symbols)
        np.testing.assert_array_equal(wide.segment_lengths(ordinal), expected_wide.segment_lengths)
        np.testing.assert_array_equal(
            wide.segment_symbol_counts(ordinal), expected_wide.segment_symbol_counts
        )
        assert pairs.segment_lengths(ordinal) is None
        assert pairs.segment_symbol_counts(ordinal) is None
        assert wide.anchors(ordinal).shape == (0, 2)
    assert store.raw_lengths.tolist() == [len(document.raw) for document in DOCUMENTS]
    assert pairs.symbol_lengths.tolist() == [(len(d.raw) + 1) // 2 for d in DOCUMENTS]
    assert store.held_out.tolist() == HELD_OUT
    assert store.ordinals(held_out=True).tolist() == [0, 3, 5, 8]
    assert store.ordinals(held_out=False).tolist() == [1, 2, 4, 6, 7]


def test_columns_are_read_only_arrays_over_the_file(small_store):
    store = ViewStore.open(small_store)
    assert [len(column.offsets) - 1 for column in store.raw_columns] == [5, 0, 4]
    narrow, wide = store.view("pairs").columns[0], store.view("wide").columns[0]
    assert (narrow.values.dtype, wide.values.dtype) == (np.uint16, np.uint32)
    for column in [*store.raw_columns, narrow, wide, *store.view("pairs").anchor_columns]:
        assert not (column.values.size and column.values.flags.writeable)
        assert column.offsets.dtype == np.int64
    mapped = Path("/proc/self/maps").read_text()
    assert "raw-00002.arrow" in mapped
    assert "pairs-00000.arrow" in mapped


def test_open_files_are_given_back(small_store):
    gc.collect()  # what other tests left open is closed now, or not before the end
    before = len(list(Path("/proc/self/fd").iterdir()))
    stores = [ViewStore.open(small_store) for _ in range(10)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert stores[-1].raw(8).tobytes() == DOCUMENTS[8].raw


def test_the_files_open_in_any_arrow_reader(small_store):
    raw = pa.ipc.open_file(small_store / "raw-00000.arrow").read_all()
    assert raw.schema.names == ["id", "raw", "held_out"]
    assert raw["raw"].to_pylist() == [document.raw for document in DOCUMENTS[:5]]
    view = pa.ipc.open_file(small_store / "pairs-00000.arrow").read_all()
    assert view.schema.field("symbols").type == pa.large_list(pa.uint16())
    assert view["anchors"].to_pylist() == [pair_view(d.raw).anchors.tolist() for d in DOCUMENTS[:5]]


def test_the_manifest_counts_what_was_written(small_store):
    manifest = read_manifest(small_store)
    assert [shard.rows for shard in manifest.shards] == [5, 0, 4]
    assert manifest.shards[0].rejected == {"empty": 2}
    assert manifest.shards[0].rejected_examples == {"empty": "bad-0"}
    assert manifest.shards[0].held_out_rows == 2
    held_out = len(DOCUMENTS[0].raw) + len(DOCUMENTS[3].raw)
    assert manifest.shards[0].held_out_bytes == held_out
    assert manifest.view_shards["wide"][0].held_out_symbols == held_out
    assert manifest.view_shards["wide"][2].symbols == sum(len(d.raw) for d in DOCUMENTS[5:])


def test_equal_content_gives_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_small_store(tmp_path / name)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_unknown_view_lists_the_views(small_store):
    with pytest.raises(DataError, match=r"no view 'bpe' in this store \(it has: pairs, wide\)"):
        ViewStore.open(small_store).view("bpe")


def test_a_folder_without_manifest_is_unfinished(tmp_path):
    with pytest.raises(DataError, match="no finished view store"):
        ViewStore.open(tmp_path)
    with pytest.raises(DataError, match="no finished view store"):
        ViewStore.open(tmp_path / "nowhere")


def test_ordinals_outside_are_refused(small_store):
    store = ViewStore.open(small_store)
    for ordinal in (-1, 9):
        with pytest.raises(IndexError):
            store.raw(ordinal)


def test_a_store_without_documents_or_views(tmp_path):
    corpus = CorpusRecord(name="nothing", fingerprint="0" * 32)
    write_store(tmp_path / "store", [], {}, corpus=corpus, held_out_fraction=0.0)
    store = ViewStore.open(tmp_path / "store", verify=True)
    assert store.document_count == 0
    assert store.view_names == []
    assert store.ordinals(held_out=False).tolist() == []


def test_columns_that_are_being_written_hold_little_and_lose_nothing(tmp_path, monkeypatch):
    """A shard may be larger than memory: what waits in files is the same as what waits there."""
    numbers = random.Random(3)
    groups = [
        [np.array(numbers.choices(range(9), k=numbers.randrange(9)), np.uint32) for _ in range(n)]
        for n in (0, 3, 40, 0, 7)
    ]
    rows = [row for group in groups for row in group]
    expected = Column.of(rows, np.dtype(np.uint16))
    for held_bytes in (0, 40, 1 << 20):
        monkeypatch.setattr(column_module, "HELD_BYTES", held_bytes)
        growing = GrowingColumn(np.dtype(np.uint16), tmp_path)
        for group in groups:
            growing.extend(group)
            assert growing._held_bytes <= held_bytes
        column = growing.column()
        assert column.values.dtype == np.uint16
        np.testing.assert_array_equal(column.values, expected.values)
        np.testing.assert_array_equal(column.offsets, expected.offsets)
    assert list(tmp_path.iterdir()) == []
