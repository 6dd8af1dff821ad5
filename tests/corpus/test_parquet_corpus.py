"""Parquet: one document per row, one part per row group."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from proxylm.corpus.contract import Corpus
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.opening import CorpusConfig, open_corpus
from proxylm.errors import DamagedFileError, DataError


def open_table(path: Path, columns: dict[str, Any], *, rows: int = 2, **options: Any) -> Corpus:
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return open_corpus(CorpusConfig(path=str(path), **options))


def read_all(corpus: Corpus) -> list[Document | Rejection]:
    return [item for part in corpus.parts() for item in corpus.read(part)]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_rows_are_documents_and_row_groups_are_parts(tmp_path, kind):
    texts = ["one", "zwölf", None, "", "five\r\n"]
    corpus = open_table(tmp_path / "a.parquet", {"text": pa.array(texts, kind)})
    assert [(part.row_group, part.first_row) for part in corpus.parts()] == [(0, 0), (1, 2), (2, 4)]
    items = read_all(corpus)
    assert [item.id for item in items] == [f"a.parquet:{row}" for row in range(5)]
    assert [getattr(item, "raw", None) for item in items] == [
        b"one",
        "zwölf".encode(),
        None,
        None,
        b"five\r\n",
    ]
    assert [items[2].reason, items[3].reason] == ["missing_text", "empty"]


def test_bytes_that_are_not_utf8_are_kept_or_rejected(tmp_path):
    columns = {"text": pa.array([b"\xff\x00", b"fine"], pa.binary())}
    kept = read_all(open_table(tmp_path / "a.parquet", columns))
    assert [item.raw for item in kept] == [b"\xff\x00", b"fine"]
    strict = read_all(open_table(tmp_path / "a.parquet", columns, invalid_utf8="reject"))
    assert [getattr(item, "reason", None) for item in strict] == ["invalid_utf8", None]


def test_ids_and_symbols_come_from_their_columns(tmp_path):
    columns = {
        "body": ["a", "b", "c", "d"],
        "name": ["x", None, "z", ""],
        "codes": pa.array([[1, 2, 3], [4, 70_000], [None], None], pa.list_(pa.int64())),
    }
    corpus = open_table(
        tmp_path / "a.parquet",
        columns,
        text_field="body",
        id_field="name",
        symbols_field="codes",
        symbol_count=70_000,
    )
    corpus = pickle.loads(pickle.dumps(corpus))
    first, *others = read_all(corpus)
    assert (first.id, corpus.given_symbol_count) == ("x", 70_000)
    np.testing.assert_array_equal(first.symbols, np.array([1, 2, 3], dtype=np.uint32))
    assert [(item.id, item.reason) for item in others] == [
        ("a.parquet:1", "bad_symbols"),
        ("z", "bad_symbols"),
        ("a.parquet:3", "bad_symbols"),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_field": "body"}, "no column 'body'; there are: text, number"),
        ({"text_field": "number"}, "column 'number' holds int64, not text"),
        ({"symbols_field": "number", "symbol_count": 3}, "not lists of integers"),
    ],
)
def test_a_wrong_column_is_named_at_once(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        open_table(tmp_path / "a.parquet", {"text": ["a"], "number": [1]}, **options)


@pytest.mark.parametrize("damage", ["truncated", "zero length", "text"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a"] * 100}), path)
    content = path.read_bytes()
    path.write_bytes({"truncated": content[:-9], "zero length": b"", "text": b"hello"}[damage])
    with pytest.raises(DamagedFileError, match=r"a\.parquet: damaged"):
        open_corpus(CorpusConfig(path=str(path)))


def test_flipped_bits_in_a_page_are_noticed(tmp_path):
    path = tmp_path / "a.parquet"
    texts = [os.urandom(20).hex() for _ in range(1000)]
    pq.write_table(pa.table({"text": texts}), path, compression="none", write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"a\.parquet: damaged"):
        read_all(open_corpus(CorpusConfig(path=str(path))))


@pytest.mark.parametrize("removed", [True, False])
def test_a_file_that_changes_after_opening_stops_the_run(tmp_path, removed):
    path = tmp_path / "a.parquet"
    corpus = open_table(path, {"text": ["a", "b"]})
    path.unlink()
    if not removed:
        pq.write_table(pa.table({"text": ["a", "bbbbb"]}), path)
    with pytest.raises(DataError, match="changed while it was being read"):
        read_all(corpus)
