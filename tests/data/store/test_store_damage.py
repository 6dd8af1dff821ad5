"""Damage to a store: one flipped bit or a truncation anywhere is found, with the file's name."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_store import PAIRS, WIDE, pair_view, write_small_store

from proxylm.compressors.contract import CompressedView
from proxylm.corpus.document import Document
from proxylm.data.store.manifest import (
    CorpusRecord,
    Manifest,
    RawShard,
    ViewShard,
    read_manifest,
    write_manifest,
)
from proxylm.data.store.shard_files import Header, RawColumns, ViewColumns
from proxylm.data.store.store import ViewStore
from proxylm.data.store.writer import DocumentGroup, ViewCheck, find_mistake, view_header
from proxylm.errors import DamagedFileError, DataError
from unchecked_views import altered


def assert_damage_is_named(store: Path, name: str, *, verify: bool) -> str:
    with pytest.raises(DamagedFileError, match=re.escape(str(store / name))) as error:
        ViewStore.open(store, verify=verify)
    assert "\n" not in str(error.value)
    return str(error.value)


def data_files(store: Path) -> list[Path]:
    return sorted(store.glob("*.arrow"))


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.parametrize("length", [0, 1, 8, -1, -8, -100])
def test_truncation_is_found_at_once(small_store, length):
    for path in data_files(small_store):
        content = path.read_bytes()
        path.write_bytes(content[:length])
        assert_damage_is_named(small_store, path.name, verify=False)
        path.write_bytes(content)
    ViewStore.open(small_store, verify=True)


def check_flips(store: Path, bits_per_file: int | None) -> None:
    numbers = random.Random(5)
    for path in [*data_files(store), store / "manifest.json"]:
        content = path.read_bytes()
        all_bits = range(8 * len(content))
        chosen = all_bits if bits_per_file is None else numbers.sample(all_bits, bits_per_file)
        for bit in chosen:
            flip(path, bit)
            assert_damage_is_named(store, path.name, verify=True)
            path.write_bytes(content)


def test_one_flipped_bit_anywhere_is_found(small_store):
    check_flips(small_store, bits_per_file=25)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_single_flipped_bit_is_found(small_store):
    check_flips(small_store, bits_per_file=None)


def test_a_flipped_bit_never_reads_outside_the_file(small_store):
    """Without ``verify`` damage may go unseen, but never as a crash or a foreign row."""
    numbers = random.Random(6)
    for path in data_files(small_store):
        content = path.read_bytes()
        for bit in numbers.sample(range(8 * len(content)), 60):
            flip(path, bit)
            try:
                store = ViewStore.open(small_store)
                for ordinal in range(store.document_count):
                    store.document_id(ordinal)
                    store.raw(ordinal).sum()
                    store.view("pairs").anchors(ordinal).sum()
            except DamagedFileError as error:
                assert path.name in str(error)
            path.write_bytes(content)


def test_missing_file(small_store):
    (small_store / "wide-00002.arrow").unlink()
    assert "missing" in assert_damage_is_named(small_store, "wide-00002.arrow", verify=False)


@pytest.mark.parametrize("name", ["raw-00000.arrow", "pairs-00000.arrow"])
def test_foreign_shard_of_the_same_length(small_store, tmp_path, name):
    write_small_store(tmp_path / "other", corpus="d" * 32)
    shutil.copy(tmp_path / "other" / name, small_store / name)
    message = assert_damage_is_named(small_store, name, verify=False)
    assert "foreign or stale file: its store is" in message
    assert_damage_is_named(small_store, name, verify=True)


def test_shards_swapped_within_a_store(tmp_path):
    rows = [b"aaaa", b"bbbb"]
    manifest = handmade_store(tmp_path, rows, lambda raw: pair_view(raw), 65_536)
    a, b = (tmp_path / shard.file.name for shard in manifest.shards)
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    assert "its shard is 1, the manifest says 0" in assert_damage_is_named(
        tmp_path, a.name, verify=False
    )


def test_stale_view_of_another_compressor(small_store):
    manifest = read_manifest(small_store)
    other = PAIRS.model_copy(update={"compressor_fingerprint": "0" * 32})
    write_manifest(
        small_store, manifest.model_copy(update={"views": {"pairs": other, "wide": WIDE}})
    )
    message = assert_damage_is_named(small_store, "pairs-00000.arrow", verify=False)
    assert "f" * 32 in message
    assert "0" * 32 in message


def test_another_format_version_is_said_so(small_store):
    write_manifest(small_store, read_manifest(small_store).model_copy(update={"format_version": 9}))
    assert "format version 9" in assert_damage_is_named(small_store, "manifest.json", verify=False)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"format_version": 1}', "[" * 100_000])
def test_a_manifest_of_something_else(small_store, text):
    (small_store / "manifest.json").write_text(text)
    assert_damage_is_named(small_store, "manifest.json", verify=False)


def handmade_store(folder, documents, compress, symbol_count) -> Manifest:
    """A store of one document per shard whose checksums are right, whatever the symbols are."""
    view = PAIRS.model_copy(update={"symbol_count": symbol_count})
    raw_shards, view_shards = [], []
    for shard, raw in enumerate(documents):
        header = Header(store="s", shard=shard)
        columns = RawColumns(folder)
        columns.extend(["x"], [raw], [False])
        file = columns.write(folder / f"raw-0000{shard}.arrow", header)
        raw_shards.append(
            RawShard(
                file=file,
                rows=1,
                held_out_rows=0,
                num_bytes=len(raw),
                held_out_bytes=0,
                rejected={},
                rejected_examples={},
            )
        )
        header = view_header("s", shard, "v", view)
        columns = ViewColumns(view, folder)
        columns.extend([compress(raw)])
        file = columns.write(folder / f"v-0000{shard}.arrow", header)
        view_shards.append(ViewShard(file=file, symbols=1, held_out_symbols=0, anchors=0))
    manifest = Manifest(
        fingerprint="s",
        corpus=CorpusRecord(name="x", fingerprint="y"),
        held_out_fraction=0.0,
        shards=raw_shards,
        views={"v": view},
        view_shards={"v": view_shards},
    )
    write_manifest(folder, manifest)
    return manifest


def test_a_symbol_outside_the_vocabulary_is_found_by_verify(tmp_path):
    handmade_store(tmp_path, [b"\0\1"], pair_view, 1)
    message = assert_damage_is_named(tmp_path, "v-00000.arrow", verify=True)
    assert "symbol 1 is outside the vocabulary of 1" in message


def view(symbols, anchors=(), segments=None, counts=None) -> CompressedView:
    return altered(
        CompressedView(
            symbols=np.array(symbols, np.uint32),
            anchors=np.array(anchors, np.uint32).reshape(-1, 2),
        ),
        segment_lengths=None if segments is None else np.array(segments, np.uint32),
        segment_symbol_counts=None if counts is None else np.array(counts, np.uint32),
    )


@pytest.mark.parametrize(
    ("views", "row", "message"),
    [
        ([view([1]), view([5, 65_536])], 1, "symbol 1 is 65536, not an integer from 0 to 65535"),
        ([view([1] * 9, [[0, 1]])], 0, "anchors do not rise strictly inside"),
        ([view([1] * 9), view([1] * 9, [[5, 2], [5, 3]])], 1, "anchors do not rise"),
        ([view([1] * 9, [[10, 2]])], 0, "anchors do not rise"),
        ([view([1] * 9, [[5, 9]])], 0, "anchors do not rise"),
        ([view([1], segments=[4, 6]), view([1], segments=[4, 5])], 1, "segments of 9 bytes"),
        ([view([1], segments=[10]), view([1])], 1, "for some documents only"),
        ([view([1], segments=[10], counts=[2])], 0, "segments of 2 symbols, not 1"),
        ([view([1], segments=[10], counts=[0, 1])], 0, "do not fit the segment lengths"),
        ([view([1], counts=[1])], 0, "do not fit the segment lengths"),
        (
            [view([1], segments=[10], counts=[1]), view([1], segments=[10])],
            1,
            "symbols per segment are there for some documents only",
        ),
    ],
)
def test_a_compressor_that_errs_is_caught_before_anything_is_written(views, row, message):
    found = find_mistake(views, [10] * len(views), PAIRS)
    assert found is not None
    assert found[0] == row
    assert message in found[1]


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        ("symbols", [3, -1], "symbol 1 is -1, not an integer from 0 to 65535"),
        ("symbols", [0.7], "symbol 0 is 0.7"),
        ("symbols", [[1, 2]], "found shape [1, 2]"),
        ("anchors", [[1.5, 1.5]], "anchors are float64, not integers"),
        ("segment_lengths", [-5, 15], "segment_lengths 0 is -5"),
        ("segment_lengths", [9.5, 0.5], "segment_lengths 0 is 9.5"),
        ("segment_symbol_counts", [-1, 4], "segment_symbol_counts 0 is -1"),
    ],
)
def test_what_the_files_would_alter_is_caught_too(field, values, message):
    right = view([1, 2, 3], segments=[4, 6], counts=[1, 2])
    found = find_mistake([right, altered(right, **{field: np.array(values)})], [10, 10], PAIRS)
    assert found is not None
    assert found[0] == 1
    assert message in found[1]


def test_views_differ_from_those_of_an_earlier_group():
    groups = [
        DocumentGroup(documents=[Document(id=name, raw=bytes(10))], views={"v": [form]})
        for name, form in (("a", view([1], segments=[10])), ("b", view([1])))
    ]
    check = ViewCheck({"v": PAIRS})
    check(groups[0])
    with pytest.raises(DataError, match=r"view 'v', document 'b': .*for some documents only"):
        check(groups[1])


def test_right_views_pass():
    views = [view([1] * 9, [[1, 1], [9, 8]]), view([]), view([2] * 4, [[2, 1]])]
    assert find_mistake(views, [10, 10, 10], PAIRS) is None
    assert find_mistake([view([1], segments=[4, 6])], [10], PAIRS) is None
    counted = view([1, 2, 3], segments=[4, 6], counts=[1, 2])
    assert find_mistake([counted], [10], PAIRS) is None
