"""``prepare``: documents accounted for, the same bytes whatever the workers, going on, adding."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_corpus import ByteCompressor, gzip_and_units, open_lines, write_json_lines

from proxylm.compressors.contract import CannotCompress
from proxylm.compressors.registry import load_compressor
from proxylm.corpus.document import Document
from proxylm.corpus.split import is_held_out
from proxylm.data.store import column, steps
from proxylm.data.store.job import WORK_FOLDER
from proxylm.data.store.manifest import CorpusRecord, read_manifest
from proxylm.data.store.prepare import prepare_store
from proxylm.data.store.steps import GivenSource
from proxylm.data.store.store import ViewStore
from proxylm.data.store.wanted import wanted_views
from proxylm.errors import DamagedFileError, DataError, UsageError
from written_store import ShardRows, write_store


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> Path:
    return write_json_lines(tmp_path_factory.mktemp("corpus") / "lines.jsonl")


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_documents_in_are_written_or_rejected(lines, tmp_path):
    summary = prepare_store(open_lines(lines), gzip_and_units(), tmp_path / "s", workers=1)
    assert summary.documents_in == 123
    assert summary.rejected == {"empty": 1, "invalid_json": 1, "wrong_text_type": 1}
    assert summary.documents_written == 120
    store = ViewStore.open(tmp_path / "s", verify=True)
    assert store.document_count == 120
    assert summary.num_bytes == store.raw_lengths.sum() == summary.processed_bytes
    gz = summary.views["gz"]
    assert gz.symbols == store.view("gz").symbol_lengths.sum()
    assert gz.bytes_per_symbol == pytest.approx(summary.num_bytes / gz.symbols)
    assert summary.views["nibbles"].bytes_per_symbol == 0.5
    assert json.loads(json.dumps(summary.to_json()))["documents_in"] == 123


def test_rows_are_the_corpus_and_its_compression(lines, tmp_path):
    corpus, compressors = open_lines(lines), gzip_and_units()
    prepare_store(corpus, compressors, tmp_path / "s", workers=1, held_out_fraction=0.3)
    store = ViewStore.open(tmp_path / "s")
    documents = list(corpus.documents())
    for ordinal, document in enumerate(documents):
        assert store.raw(ordinal).tobytes() == document.raw
        assert store.document_id(ordinal) == document.id
        assert store.held_out[ordinal] == is_held_out(document.raw, 0.3)
        for name, compressor in compressors.items():
            [expected] = compressor.encode([document.raw])
            np.testing.assert_array_equal(store.view(name).symbols(ordinal), expected.symbols)
            np.testing.assert_array_equal(store.view(name).anchors(ordinal), expected.anchors)
    assert store.view("gz").compressor_fingerprint == compressors["gz"].fingerprint
    assert 0 < store.held_out.sum() < len(documents)


def test_the_pipeline_writes_what_the_plain_writer_writes(lines, tmp_path):
    corpus, compressors = open_lines(lines), gzip_and_units()
    prepare_store(corpus, compressors, tmp_path / "s", workers=1)
    shards = []
    for part in corpus.parts():
        rows = ShardRows(list(compressors))
        for item in corpus.read(part):
            if isinstance(item, Document):
                views = {name: c.encode([item.raw])[0] for name, c in compressors.items()}
                rows.add(item, is_held_out(item.raw), views)
            else:
                rows.reject(item)
        shards.append(rows)
    views = {
        name: v.record for name, v in wanted_views(corpus, compressors, None, tmp_path).items()
    }
    record = CorpusRecord(name=corpus.name, fingerprint=corpus.fingerprint)
    write_store(tmp_path / "plain", shards, views, corpus=record, held_out_fraction=0.02)
    plain, ours = content(tmp_path / "plain"), content(tmp_path / "s")
    assert len(shards) > 5
    for name in plain.keys() - {"manifest.json"}:
        assert ours[name] == plain[name], name


def test_the_bytes_do_not_depend_on_the_workers(lines, tmp_path):
    for workers in (1, 2, 3):
        prepare_store(open_lines(lines), gzip_and_units(), tmp_path / str(workers), workers=workers)
    expected = content(tmp_path / "1")
    assert content(tmp_path / "2") == expected
    assert content(tmp_path / "3") == expected
    assert {"manifest.json", "corpus.json", "compressors/gz/compressor.json"} <= expected.keys()
    assert not [name for name in expected if name.startswith((WORK_FOLDER, ".partial"))]


def test_a_part_larger_than_what_is_held_is_written_alike(lines, tmp_path, monkeypatch):
    packed = tmp_path / "lines.jsonl.gz"
    packed.write_bytes(gzip.compress(lines.read_bytes()))
    for name, held_bytes in (("whole", 1 << 30), ("pieces", 1000)):
        monkeypatch.setattr(column, "HELD_BYTES", held_bytes)
        monkeypatch.setattr(steps, "GROUP_BYTES", held_bytes)
        prepare_store(open_lines(packed), gzip_and_units(), tmp_path / name, workers=1)
    assert content(tmp_path / "pieces") == content(tmp_path / "whole")
    assert ViewStore.open(tmp_path / "pieces", verify=True).document_count == 120


def test_saved_compressors_load(lines, tmp_path):
    prepare_store(open_lines(lines), gzip_and_units(), tmp_path / "s", workers=1)
    view = ViewStore.open(tmp_path / "s").view("nibbles")
    assert load_compressor(view.compressor_folder).fingerprint == view.compressor_fingerprint


def test_a_document_that_a_view_cannot_represent_is_left_out_of_all(lines, tmp_path):
    compressors = {"bytes": ByteCompressor(refused="é".encode()), **gzip_and_units()}
    summary = prepare_store(open_lines(lines), compressors, tmp_path / "s", workers=1)
    refused = summary.rejected["cannot_compress"]
    assert refused > 0
    assert summary.documents_in == 123 == summary.documents_written + refused + 3
    assert "view 'bytes', refused in a test" in summary.rejected_examples["cannot_compress"]
    store = ViewStore.open(tmp_path / "s")
    assert all("é".encode() not in store.raw(i).tobytes() for i in range(store.document_count))


def test_adding_a_view_leaves_the_rest_alone(lines, tmp_path):
    both, out = gzip_and_units(), tmp_path / "s"
    prepare_store(open_lines(lines), {"gz": both["gz"]}, out, workers=1)
    before = content(out)
    times = {path: path.stat().st_mtime_ns for path in out.glob("raw-*.arrow")}
    summary = prepare_store(None, {"nibbles": both["nibbles"]}, out, workers=2)
    assert list(summary.views) == ["gz", "nibbles"]
    assert times == {path: path.stat().st_mtime_ns for path in out.glob("raw-*.arrow")}
    after = content(out)
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: data for name, data in before.items() if name != "manifest.json"
    }
    store, together = ViewStore.open(out, verify=True), tmp_path / "t"
    prepare_store(open_lines(lines), both, together, workers=1)
    for name in both:
        for ours, theirs in zip(
            store.view(name).columns, ViewStore.open(together).view(name).columns, strict=True
        ):
            np.testing.assert_array_equal(ours.values, theirs.values)
            np.testing.assert_array_equal(ours.offsets, theirs.offsets)


def test_a_view_that_cannot_be_added_is_refused_and_names_the_document(lines, tmp_path):
    out = tmp_path / "s"
    prepare_store(open_lines(lines), {"gz": gzip_and_units()["gz"]}, out, workers=1)
    before = content(out)
    with pytest.raises(DataError, match=r"cannot be added.*view 'b', refused"):
        prepare_store(None, {"b": ByteCompressor(refused="é".encode())}, out, workers=1)
    assert {name: data for name, data in content(out).items() if name in before} == before
    assert ViewStore.open(out, verify=True).view_names == ["gz"]
    # Another compressor of that name does not have to go on where the refused one stopped.
    assert list(prepare_store(None, {"b": ByteCompressor()}, out, workers=1).views) == ["gz", "b"]


def test_a_symbol_outside_the_vocabulary_stops_the_run(lines, tmp_path):
    with pytest.raises(DataError, match=r"view 'b', document '.*': symbol \d+ is \d+, not an"):
        prepare_store(
            open_lines(lines), {"b": ByteCompressor(symbol_count=60)}, tmp_path / "s", workers=1
        )


def test_running_again_changes_nothing(lines, tmp_path):
    out = tmp_path / "s"
    first = prepare_store(open_lines(lines), gzip_and_units(), out, workers=1)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.*")}
    again = prepare_store(open_lines(lines), gzip_and_units(), out, workers=1)
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*.*")}
    assert again.processed_bytes == 0
    assert (again.documents_in, again.views) == (first.documents_in, first.views)


def test_other_settings_for_the_same_folder_show_both(lines, tmp_path):
    out = tmp_path / "s"
    corpus, compressors = open_lines(lines), gzip_and_units()
    prepare_store(corpus, compressors, out, workers=1)
    other = open_lines(write_json_lines(tmp_path / "other.jsonl", seed=2))
    with pytest.raises(UsageError) as error:
        prepare_store(other, compressors, out, workers=1)
    assert corpus.fingerprint in str(error.value)
    assert other.fingerprint in str(error.value)
    with pytest.raises(UsageError, match=r"fraction 0\.02, this run asks for 0\.1"):
        prepare_store(corpus, compressors, out, workers=1, held_out_fraction=0.1)
    with pytest.raises(UsageError) as error:
        prepare_store(corpus, {"gz": compressors["nibbles"]}, out, workers=1)
    assert compressors["gz"].fingerprint in str(error.value)
    assert compressors["nibbles"].fingerprint in str(error.value)


def interrupt_after(lines: Path, out: Path, parts: int) -> None:
    """A run that ends, as by Ctrl-C, when some parts are done."""

    def stop(job, done_bytes, total_bytes):
        nonlocal parts
        parts -= done_bytes > 0
        if parts < 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_store(open_lines(lines), gzip_and_units(), out, workers=1, progress=stop)


def test_an_unfinished_store_goes_on_only_with_the_same_settings(lines, tmp_path):
    out = tmp_path / "s"
    interrupt_after(lines, out, 3)
    with pytest.raises(DataError, match="no finished view store"):
        ViewStore.open(out)
    with pytest.raises(UsageError, match=r"unfinished, and started with .*views: gz"):
        prepare_store(open_lines(lines), {}, out, workers=1)
    other = open_lines(write_json_lines(tmp_path / "other.jsonl", seed=2))
    with pytest.raises(UsageError, match=other.fingerprint):
        prepare_store(other, gzip_and_units(), out, workers=1)


def files_and_inodes(out: Path) -> set[tuple[str, int]]:
    return {(path.name, path.stat().st_ino) for path in out.glob("*.arrow")}


def test_going_on_keeps_what_is_whole_and_redoes_what_is_not(lines, tmp_path):
    out = tmp_path / "s"
    interrupt_after(lines, out, 5)
    before = files_and_inodes(out)
    damaged = out / "gz-00001.arrow"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    (out / "raw-00002.arrow").unlink()
    record = out / WORK_FOLDER / "fill" / "records" / "00003.json"
    record.write_text(record.read_text().replace('"rows": ', '"rows": 1', 1))
    (out / ".partial-left-by-a-killed-run").write_text("half")
    summary = prepare_store(open_lines(lines), gzip_and_units(), out, workers=2)
    kept = {name for name, _ in files_and_inodes(out) & before}
    assert {"raw-00000.arrow", "raw-00004.arrow", "nibbles-00004.arrow"} <= kept
    assert not kept & {"gz-00001.arrow", "raw-00002.arrow", "raw-00003.arrow"}
    assert 0 < summary.processed_bytes < summary.num_bytes
    prepare_store(open_lines(lines), gzip_and_units(), tmp_path / "t", workers=1)
    assert content(out) == content(tmp_path / "t")


def test_damage_to_a_finished_store_is_named(lines, tmp_path):
    out = tmp_path / "s"
    prepare_store(open_lines(lines), {}, out, workers=1)
    path = out / "raw-00001.arrow"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=r"raw-00001\.arrow"):
        prepare_store(open_lines(lines), gzip_and_units(), out, workers=1)


def test_folders_of_other_people_are_left_alone(lines, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty and not a view store"):
        prepare_store(open_lines(lines), {}, tmp_path, workers=1)
    with pytest.raises(UsageError, match="not a folder"):
        prepare_store(open_lines(lines), {}, tmp_path / "notes.txt", workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["raw", "", "a/b", "../x", ".hidden", "a b"])
def test_view_names_that_cannot_be_file_names(lines, tmp_path, name):
    with pytest.raises(UsageError, match="a name has letters"):
        prepare_store(open_lines(lines), {name: ByteCompressor()}, tmp_path / "s", workers=1)
    assert not (tmp_path / "s").exists()


def test_impossible_numbers(lines, tmp_path):
    for fraction in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match="from 0 to 1"):
            prepare_store(open_lines(lines), {}, tmp_path / "s", held_out_fraction=fraction)
    with pytest.raises(UsageError, match="at least 1"):
        prepare_store(open_lines(lines), {}, tmp_path / "s", workers=0)
    with pytest.raises(UsageError, match="a corpus is needed"):
        prepare_store(None, {}, tmp_path / "s")


def write_given(path: Path) -> Path:
    rows = [
        {"text": "one", "s": [1, 2, 3]},
        {"text": "two", "s": [4]},
        {"text": "three", "s": [10]},
        {"text": "four"},
        {"text": "five", "s": [0]},
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_given_symbols_are_taken_as_they_are(tmp_path):
    path = write_given(tmp_path / "given.jsonl")
    corpus = open_lines(path, symbols_field="s", symbol_count=10)
    out = tmp_path / "s"
    summary = prepare_store(corpus, gzip_and_units(), out, workers=1, given_view="mine")
    assert summary.documents_in == 5
    assert summary.rejected == {"bad_symbols": 2}
    view = ViewStore.open(out, verify=True).view("mine")
    assert [view.symbols(i).tolist() for i in range(3)] == [[1, 2, 3], [4], [0]]
    assert (view.symbol_count, view.reversible, view.compressor_folder) == (10, False, None)
    assert read_manifest(out).views["mine"].kind == "given"


@pytest.mark.parametrize("symbols", [[-1], [10], [0.7], [[1]], [True]])
def test_given_symbols_of_any_corpus_are_checked(symbols):
    """Corpora are an interface, too: others may check nothing."""
    right = Document(id="a", raw=b"a", symbols=np.array([9]))
    wrong = Document(id="b", raw=b"b", symbols=np.array(symbols))
    taken, refused = GivenSource(10).encode([right, wrong])
    assert taken.symbols.tolist() == [9]
    assert isinstance(refused, CannotCompress) and refused.reason == "bad_symbols"


def test_given_symbols_need_a_corpus_that_has_them(lines, tmp_path):
    with pytest.raises(UsageError, match="gives no symbols"):
        prepare_store(open_lines(lines), {}, tmp_path / "s", given_view="mine")
    corpus = open_lines(write_given(tmp_path / "given.jsonl"), symbols_field="s", symbol_count=10)
    prepare_store(corpus, {}, tmp_path / "s", workers=1, given_view="mine")
    with pytest.raises(UsageError, match="cannot be added"):
        prepare_store(corpus, {}, tmp_path / "s", workers=1, given_view="other")


def test_given_symbols_are_not_dropped_silently(tmp_path):
    corpus = open_lines(write_given(tmp_path / "given.jsonl"), symbols_field="s", symbol_count=10)
    with pytest.raises(UsageError, match="--given-view"):
        prepare_store(corpus, gzip_and_units(), tmp_path / "s", workers=1)
    assert not (tmp_path / "s").exists()


def test_a_file_that_changes_during_the_run_stops_it(lines, tmp_path):
    copy = tmp_path / "lines.jsonl"
    shutil.copy(lines, copy)
    corpus = open_lines(copy)
    copy.write_text(copy.read_text()[:-40])
    with pytest.raises(DataError, match=r"lines\.jsonl: changed"):
        prepare_store(corpus, {}, tmp_path / "s", workers=2)


def test_documents_of_one_id_are_all_kept(tmp_path):
    """Ids are for people: what a corpus calls its documents may repeat, and nothing is lost."""
    lines = [json.dumps({"text": f"{number} " * 400, "name": "same"}) for number in range(9)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    corpus = open_lines(tmp_path / "a.jsonl", id_field="name")
    summary = prepare_store(corpus, gzip_and_units(), tmp_path / "s", workers=1)
    store = ViewStore.open(tmp_path / "s", verify=True)
    assert (summary.documents_written, summary.shards > 1) == (9, True)
    assert {store.document_id(ordinal) for ordinal in range(9)} == {"same"}
    assert len({store.raw(ordinal).tobytes() for ordinal in range(9)}) == 9
