"""Scoring files, folders and stores: the same numbers as one call, whatever the grouping."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxylm.corpus.document import Rejection
from proxylm.corpus.left_out import LeftOut
from proxylm.data.store.store import ViewStore
from proxylm.errors import DataError, UsageError
from proxylm.generation.byte_model import ByteModel
from proxylm.scoring.documents import (
    DocumentScore,
    ReadDocument,
    expected_of_files,
    find_files,
    first_documents,
    read_files,
    read_from_store,
    read_store,
    score_documents,
    stored_view,
    total_score,
)
from proxylm.scoring.readings import CompressedReading, RawReading, require_compressor
from proxylm.scoring.score import score
from proxylm.symbols import COMPRESSED_OFFSET, RAW_OFFSET
from small_models import COMPRESSED_SYMBOLS, small_model
from units_store import DOCUMENTS, units, write_units_store

MODEL = small_model(seed=6, sharpness=8)


@pytest.fixture
def store(tmp_path: Path) -> ViewStore:
    return write_units_store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "texts" / "deeper").mkdir(parents=True)
    (tmp_path / "texts" / "b.txt").write_bytes(DOCUMENTS[1])
    (tmp_path / "texts" / "a.txt").write_bytes(DOCUMENTS[0])
    (tmp_path / "texts" / "deeper" / "c.txt").write_bytes(DOCUMENTS[2])
    (tmp_path / "texts" / "empty.txt").touch()
    return tmp_path / "texts"


def test_files_and_folders_in_a_fixed_order(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "nowhere")
    left_out = LeftOut()
    files, _ = find_files([folder / "b.txt", folder], left_out)
    assert left_out.examples == {"link": f"{folder / 'link'}: {folder / 'nowhere'}"}
    names = [path.relative_to(folder).as_posix() for path in files]
    assert names == ["b.txt", "a.txt", "b.txt", "deeper/c.txt", "empty.txt"]
    with pytest.raises(UsageError, match="missing: no such file or folder"):
        find_files([folder / "missing"], LeftOut())


def test_files_score_as_their_bytes_and_empty_ones_are_left_out(folder: Path) -> None:
    left_out = LeftOut()
    files, _ = find_files([folder], left_out)
    documents = read_files(files, RawReading(), left_out=left_out)
    scores = list(score_documents(MODEL, documents, RawReading().prefix))
    assert left_out.to_json() == {"empty": 1}
    assert [Path(score.name).name for score in scores] == ["a.txt", "b.txt", "c.txt"]
    expected = score(MODEL, DOCUMENTS).per_document
    assert [score.bits_per_byte for score in scores] == pytest.approx(expected, rel=1e-6)


def test_what_folders_hold_beside_documents_is_counted(folder: Path) -> None:
    (folder / ".hidden").touch()
    (folder / "gone.txt").symlink_to("nowhere")
    (folder / "up").symlink_to(folder.parent)
    (folder / "a.zip").write_bytes(b"PK\x03\x04")
    (folder / "lines.NDJSON").write_bytes(b'{"text": "one"}\n{"text": ""}\n')
    left_out = LeftOut()
    files, skipped = find_files([folder], left_out)
    read = list(read_files(files, RawReading(), left_out=left_out))
    assert [Path(one.name).name for one in read] == ["a.txt", "b.txt", "c.txt", "lines.NDJSON:1"]
    assert skipped == {"hidden": 1}
    assert left_out.counts == {"link": 2, "packed": 1, "empty": 2}


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[b"text"])
    writer.start()
    [document] = read_files([tmp_path / "pipe"], RawReading(), left_out=LeftOut())
    writer.join()
    assert (document.num_bytes, bytes((document.ids - RAW_OFFSET).tolist())) == (4, b"text")


def test_a_file_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")  # what a bad disk gives: without a name

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(DataError, match=r"a\.txt: cannot be read \(Input/output error\)"):
        list(read_files([folder / "a.txt"], RawReading(), left_out=LeftOut()))


def test_grouping_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scores() -> list[float]:
        files, _ = find_files([folder], LeftOut())
        documents = read_files(files, RawReading(), left_out=LeftOut())
        return [score.bits for score in score_documents(MODEL, documents, RawReading().prefix)]

    together = scores()
    monkeypatch.setattr("proxylm.scoring.documents.GROUP_BYTES", 1)
    assert scores() == pytest.approx(together, rel=1e-6)


def test_the_total_is_bits_over_bytes_not_a_mean_of_ratios() -> None:
    scores = [
        DocumentScore(name="a", num_bytes=1, num_symbols=1, bits=8.0),
        DocumentScore(name="b", num_bytes=9, num_symbols=3, bits=2.0),
    ]
    total = total_score(scores)
    assert (total.num_bytes, total.num_symbols, total.bits_per_byte) == (10, 4, 1.0)
    with pytest.raises(DataError, match="no document to score"):
        total_score([])
    nothing = LeftOut()
    nothing.add(Rejection(id="a.jsonl:1", reason="too_long"))
    with pytest.raises(DataError, match=r"1 too_long \(first: a\.jsonl:1\): raise max_document"):
        total_score([], nothing)


def test_stores_read_as_bytes_and_as_symbols(store: ViewStore) -> None:
    ordinals = list(range(store.document_count))
    raw = list(
        score_documents(MODEL, read_store(store, ordinals, RawReading()), RawReading().prefix)
    )
    assert [score.name for score in raw] == ["d0", "d1", "d2"]
    expected = score(MODEL, DOCUMENTS).per_document
    assert [score.bits_per_byte for score in raw] == pytest.approx(expected, rel=1e-6)

    reading = CompressedReading(units(8))
    expected = score(MODEL, DOCUMENTS, reading).per_document
    for documents in (
        read_store(store, ordinals, reading),
        read_from_store(store, ordinals, ByteModel(MODEL), "units")[1],
    ):
        scores = list(score_documents(MODEL, documents, reading.prefix))
        assert [score.bits_per_byte for score in scores] == pytest.approx(expected, rel=1e-6)


def test_units_of_half_a_byte_have_twice_the_symbols_and_the_same_bytes(folder: Path) -> None:
    reading = CompressedReading(units(4))
    documents = read_files([folder / "b.txt"], reading, left_out=LeftOut())
    [score] = score_documents(MODEL, documents, reading.prefix)
    assert score.num_symbols == 2 * score.num_bytes == 2 * len(DOCUMENTS[1])


def test_a_lossy_stored_view_is_refused(store: ViewStore) -> None:
    with pytest.raises(UsageError, match="not defined for view 'lossy'"):
        read_from_store(store, [0], ByteModel(MODEL), "lossy")


def test_a_limit_takes_whole_documents_and_at_least_one(store: ViewStore) -> None:
    documents = list(read_store(store, range(3), RawReading()))
    for limit, count in [(1, 1), (4, 1), (5, 2), (10_000, 3), (None, 3)]:
        assert len(list(first_documents(documents, limit_bytes=limit))) == count
    for limit, count in [(1, 1), (3, 3), (4, 3)]:
        assert len(list(first_documents(documents, limit_documents=limit))) == count
    assert len(list(first_documents(documents, limit_documents=2, limit_bytes=1))) == 1


def test_documents_beyond_a_limit_are_not_read(store: ViewStore) -> None:
    read = []

    def documents() -> Iterator[ReadDocument]:
        for document in read_store(store, range(3), RawReading()):
            read.append(document.name)
            yield document

    assert len(list(first_documents(documents(), limit_documents=2))) == 2
    assert len(read) == 2


def test_another_compressor_is_refused_and_both_are_shown() -> None:
    require_compressor(ByteModel(MODEL), COMPRESSED_SYMBOLS, "a")
    require_compressor(ByteModel(MODEL, compressor_fingerprint="a"), COMPRESSED_SYMBOLS, "a")
    with pytest.raises(UsageError, match="compressor a and this one is b"):
        require_compressor(ByteModel(MODEL, compressor_fingerprint="a"), COMPRESSED_SYMBOLS, "b")
    with pytest.raises(UsageError, match="257 symbols and the model has room for 256"):
        require_compressor(ByteModel(MODEL), COMPRESSED_SYMBOLS + 1, "a")


def test_what_the_model_reads_and_where_it_stands() -> None:
    raw = RawReading().read(b"\x00\xff")
    assert (raw.ids - RAW_OFFSET).tolist() == [0, 255]
    assert raw.starts.tolist() == [0, 1]
    bits = CompressedReading(units(1)).read(b"\x81")
    assert (bits.ids - COMPRESSED_OFFSET).tolist() == [1, 0, 0, 0, 0, 0, 0, 1]
    assert bits.starts.tolist() == [0] * 8


def test_tokens_of_a_store_are_the_view_of_the_model_s_compressor(
    store: ViewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ByteModel(MODEL, compressor_fingerprint=units(8).fingerprint)
    assert stored_view(store, model, "bytes") is None
    assert stored_view(store, model, "tokens") == "units"
    assert stored_view(store, model, "lossy") == "lossy"
    assert stored_view(store, ByteModel(MODEL), "tokens") == "units", "the other one is lossy"
    with pytest.raises(UsageError, match="has no view of it"):
        stored_view(store, ByteModel(MODEL, compressor_fingerprint="0"), "tokens")
    lossless = replace(store.view("lossy"), reversible=True)
    monkeypatch.setitem(store.views, "lossy", lossless)
    with pytest.raises(UsageError, match="several views: name one of units, lossy"):
        stored_view(store, model, "tokens")
    with pytest.raises(DataError, match="no view 'words' in this store"):
        stored_view(store, model, "words")


def test_a_scoring_tells_of_its_bytes_over_all_groups(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxylm.scoring.documents.GROUP_BYTES", 1)
    files, _ = find_files([folder], LeftOut())
    read = read_files(files, RawReading(), left_out=LeftOut())
    expected = sum(map(len, DOCUMENTS[:3]))
    told: list[tuple[int, int | None]] = []

    def progress(name: str, done: int, total: int | None) -> None:
        assert name == "bytes scored"
        told.append((done, total))

    scored = score_documents(
        MODEL, read, RawReading().prefix, progress=progress, expected_bytes=expected_of_files(files)
    )
    ends = [sum(map(len, DOCUMENTS[:count])) for count in (1, 2, 3)]
    assert len(list(scored)) == 3
    assert {(end, expected) for end in ends} <= set(told)
    assert told == sorted(told) and told[-1] == (expected, expected)


def test_how_much_a_scoring_reads_is_known_of_whole_files_alone(folder: Path) -> None:
    files, _ = find_files([folder], LeftOut())
    lengths = [path.stat().st_size for path in files]
    assert expected_of_files(files) == sum(lengths)
    assert expected_of_files(files, limit_documents=2) == sum(lengths[:2])
    (folder / "records.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    files, _ = find_files([folder], LeftOut())
    assert expected_of_files(files) is None
    assert expected_of_files(files, limit_bytes=7) == 7
