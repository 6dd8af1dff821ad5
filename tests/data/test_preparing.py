"""``px.prepare``: the same views on disk and in memory, from whatever stands for documents."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from proxylm.compressors.contract import CompressedView, Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.memory import MemoryCorpus
from proxylm.corpus.opening import open_corpus
from proxylm.data.preparing import named_compressors, prepare
from proxylm.data.store.store import ViewStore
from proxylm.errors import DataError, UsageError


@pytest.fixture(scope="module")
def documents() -> list[tuple[str, bytes]]:
    numbers = random.Random(3)
    return [
        (f"d{i}", b" ".join(numbers.choices([b"def", b"x = 1", b"\xff"], k=1 + i % 40)))
        for i in range(120)
    ]


class Threes(Compressor):
    """Segments of three bytes, two symbols each."""

    kind, reversible, symbol_count, settings = "threes", False, 7, {}

    def encode(self, documents):
        lengths = [[min(3, len(raw) - at) for at in range(0, len(raw), 3)] for raw in documents]
        return [
            CompressedView(
                symbols=np.arange(2 * len(one), dtype=np.uint32) % 7,
                segment_lengths=np.array(one, np.uint32),
                segment_symbol_counts=np.full(len(one), 2, np.uint32),
            )
            for one in lengths
        ]


def assert_same(ours, theirs) -> None:
    """Two stores hold the same, row by row."""
    assert ours.fingerprint == theirs.manifest.fingerprint
    assert ours.document_count == theirs.document_count
    assert ours.held_out.tolist() == theirs.held_out.tolist()
    assert ours.raw_lengths.tolist() == theirs.raw_lengths.tolist()
    assert ours.view_names == theirs.view_names
    for ordinal in range(theirs.document_count):
        assert ours.document_id(ordinal) == theirs.document_id(ordinal)
        assert ours.raw(ordinal).tobytes() == theirs.raw(ordinal).tobytes()
    for name in theirs.view_names:
        mine, other = ours.view(name), theirs.view(name)
        for fact in ("symbol_count", "compressor_fingerprint", "reversible"):
            assert getattr(mine, fact) == getattr(other, fact)
        assert mine.symbol_lengths.tolist() == other.symbol_lengths.tolist()
        for ordinal in range(theirs.document_count):
            for rows in ("symbols", "anchors", "segment_lengths", "segment_symbol_counts"):
                left, right = getattr(mine, rows)(ordinal), getattr(other, rows)(ordinal)
                np.testing.assert_array_equal(left, right)
                assert getattr(left, "dtype", None) == getattr(right, "dtype", None)


def test_views_in_memory_are_those_on_disk(documents, tmp_path, monkeypatch):
    monkeypatch.setattr("proxylm.corpus.memory.PART_BYTES", 1000)
    corpus = MemoryCorpus(documents)
    compressors = {
        "bits": "units:bits=1",
        "pairs": load_compressor("units:bits=16"),
        "threes": Threes(),
    }
    in_memory = prepare(corpus, compressors, held_out_fraction=0.3)
    on_disk = prepare(corpus, compressors, tmp_path / "s", held_out_fraction=0.3, workers=1)
    assert len(on_disk.manifest.shards) > 3
    assert 0 < in_memory.held_out.sum() < 120
    assert_same(in_memory, on_disk)


def test_given_symbols_and_documents_left_out_are_the_same_in_memory(tmp_path):
    rows = [{"text": f"text {i}", "s": [i % 11]} for i in range(30)] + [{"text": ""}]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    corpus = open_corpus(
        CorpusConfig(path=str(tmp_path / "a.jsonl"), symbols_field="s", symbol_count=10)
    )
    with pytest.warns(
        UserWarning, match=r"documents left out: 2 bad_symbols .*; 1 empty"
    ) as warned:
        in_memory = prepare(corpus, "gzip", given_view="mine")
    with pytest.warns(UserWarning, match=r"documents left out: 2 bad_symbols .*; 1 empty") as again:
        on_disk = prepare(corpus, "gzip", tmp_path / "s", given_view="mine")
    assert {one.filename for one in (*warned, *again)} == {__file__}, "it names its caller"
    assert in_memory.view_names == ["gzip", "mine"]
    assert_same(in_memory, on_disk)


def test_raw_bytes_alone(documents, tmp_path):
    assert_same(prepare(documents), prepare(documents, (), tmp_path / "s", workers=1))


def test_a_path_is_documents_too(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one")
    (tmp_path / "b.txt").write_bytes(b"two")
    store = prepare(tmp_path, "units")
    assert [store.document_id(i) for i in range(2)] == ["a.txt", "b.txt"]
    assert store.view("units").symbols(1).tolist() == list(b"two")


def test_views_are_called_after_their_compressors(tmp_path):
    gzip = load_compressor("gzip")
    assert list(named_compressors(gzip)) == ["gzip"]
    assert list(named_compressors(["units:bits=4", gzip])) == ["units", "gzip"]
    assert named_compressors({"gz": gzip}) == {"gz": gzip}
    assert named_compressors(()) == {}
    with pytest.raises(UsageError, match="two views would be named 'units'; give a dictionary"):
        named_compressors(["units", "units:bits=4"])
    for given in ([7], 7):
        with pytest.raises(UsageError, match="a int is no Compressor, no path and no name"):
            named_compressors(given)


def test_what_does_not_go_together_is_refused(documents):
    with pytest.raises(UsageError, match="workers 2: they fill stores on disk"):
        prepare(documents, workers=2)
    with pytest.raises(UsageError, match="None adds views to a store on disk"):
        prepare(None, "gzip")
    with pytest.raises(UsageError, match="from 0 to 1"):
        prepare(documents, held_out_fraction=2)
    with pytest.raises(UsageError, match="document 0: a document is bytes, not str"):
        prepare(["text"])
    with pytest.raises(DataError, match="documents: no documents; left out: 2 empty"):
        prepare([b"", b""])


class Wrong(Compressor):
    """Gives symbols outside of its vocabulary."""

    kind, reversible, symbol_count, settings = "wrong", False, 3, {}

    def encode(self, documents):
        return load_compressor("units").encode(documents)


def test_a_compressor_that_errs_is_caught_in_memory_too():
    with pytest.raises(DataError, match=r"view 'wrong', document 'documents:0': symbol 0 is 120"):
        prepare([b"x"], Wrong())


def test_a_store_on_disk_goes_on_and_grows(documents, tmp_path: Path):
    prepare(documents, {"a": "units"}, tmp_path / "s", workers=1)
    assert prepare(documents, {"b": "gzip"}, tmp_path / "s").view_names == ["a", "b"]
    assert ViewStore.open(tmp_path / "s", verify=True).view_names == ["a", "b"]
