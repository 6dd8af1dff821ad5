"""Parquet: one document per row, one part per row group."""

from __future__ import annotations

import os
import pickle
import sys
import uuid
from dataclasses import replace
from decimal import Decimal
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.opening import open_corpus
from proxylm.corpus.parquet import check_columns, read_rows
from proxylm.errors import DamagedFileError, DataError


def open_table(path: Path, columns: dict[str, Any], *, rows: int = 2, **options: Any) -> Corpus:
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return open_corpus(CorpusConfig(path=str(path), **options))


def read_all(corpus: Corpus) -> list[Document | Rejection]:
    return [item for part in corpus.parts() for item in corpus.read(part)]


def typed(values: list[Any], kind: pa.DataType) -> pa.Array:
    """An array of any type: the library makes those that wrap another from its values."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, typed(values, kind.storage_type))
    if pa.types.is_dictionary(kind):
        words = list(dict.fromkeys(value for value in values if value is not None))
        places = [None if value is None else words.index(value) for value in values]
        return pa.DictionaryArray.from_arrays(
            pa.array(places, kind.index_type), typed(words, kind.value_type), ordered=kind.ordered
        )
    if pa.types.is_run_end_encoded(kind):
        runs = [(value, len(list(same))) for value, same in groupby(values)]
        ends = pa.array(accumulate(length for _, length in runs), kind.run_end_type)
        inner = typed([value for value, _ in runs], kind.value_type)
        return pa.RunEndEncodedArray.from_arrays(ends, inner, kind)
    return pa.array(values, kind)


TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),  # what polars writes
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
    pa.dictionary(pa.int8(), pa.string()),  # categorical columns
    pa.dictionary(pa.uint32(), pa.large_string(), ordered=True),
    pa.dictionary(pa.int32(), pa.binary()),
]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_rows_are_documents_and_row_groups_are_parts(tmp_path, kind):
    texts = ["one", "zwölf", None, "", "five\r\n"]
    corpus = open_table(tmp_path / "a.parquet", {"text": typed(texts, kind)})
    places = [place for part in corpus.parts() for _, place in part.ranges]
    parts = [(place.first, place.first_row) for place in places]
    assert parts == [(0, 0), (1, 2), (2, 4)]
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


class Markup(pa.ExtensionType):
    """An extension type that only this program knows: it is read as what it stores."""

    def __init__(self) -> None:
        super().__init__(pa.dictionary(pa.int8(), pa.string()), "proxylm.tests.markup")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Markup:
        return cls()


FIELDS = CorpusConfig(path="-", id_field="name", symbols_field="codes", symbol_count=1 << 16).fields
WRAPPED_TEXT = [
    *TEXT_TYPES,
    pa.json_(),
    Markup(),
    pa.run_end_encoded(pa.int32(), pa.string()),
    # Those that Arrow itself cannot decode:
    pa.dictionary(pa.int8(), pa.string_view()),
    pa.dictionary(pa.int16(), pa.dictionary(pa.int8(), pa.string())),
    pa.run_end_encoded(pa.int16(), pa.binary_view()),
    pa.run_end_encoded(pa.int64(), pa.dictionary(pa.int8(), pa.string())),
]
LISTS = [
    pa.list_(pa.int64()),
    pa.large_list(pa.uint16()),
    pa.list_view(pa.int32()),
    pa.large_list_view(pa.uint64()),
    pa.list_(pa.int32(), 2),
    pa.fixed_shape_tensor(pa.int32(), [2]),
]
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "twice\n", "twice\n", "ü\0", "5" * 300]))
CODES = st.one_of(st.none(), st.lists(st.integers(1, 65_535), min_size=2, max_size=2))


@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS, CODES), max_size=8),
    text_type=st.sampled_from(WRAPPED_TEXT),
    id_type=st.sampled_from(WRAPPED_TEXT),
    symbols_type=st.sampled_from(LISTS),
    start=st.integers(0, 3),
)
def test_the_type_of_a_column_changes_nothing(rows, text_type, id_type, symbols_type, start):
    def read(text: pa.DataType, name: pa.DataType, symbols: pa.DataType) -> list[tuple[Any, ...]]:
        values = zip(*rows, strict=True) if rows else ([], [], [])
        types = (text, name, symbols)
        columns = [typed(list(column), kind) for column, kind in zip(values, types, strict=True)]
        batch = pa.record_batch(columns, names=["text", "name", "codes"])
        check_columns(batch.schema, FIELDS, "table")
        items = read_rows(batch.slice(start), "table", start, FIELDS)  # a slice, as of a data set
        return [
            (one.id, one.raw, one.symbols.tolist())
            if isinstance(one, Document)
            else (one.id, one.reason)
            for one in items
        ]

    assert read(text_type, id_type, symbols_type) == (
        read(pa.string(), pa.string(), pa.list_(pa.int64()))
    )


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (pa.binary(2), [b"\xff\0", None, b"ab"], [b"\xff\0", "missing_text", b"ab"]),
        (pa.json_(), ['{"a": 1}', None], [b'{"a": 1}', "missing_text"]),
        (pa.null(), [None, None], ["missing_text", "missing_text"]),
    ],
    ids=["fixed-size binary", "JSON", "null"],
)
def test_other_types_that_become_bytes(tmp_path, kind, values, expected):
    items = read_all(open_table(tmp_path / "a.parquet", {"text": pa.array(values, kind)}))
    assert [getattr(item, "raw", None) or item.reason for item in items] == expected


def test_a_long_text_of_a_dictionary_is_not_repeated_in_memory():
    fields = replace(FIELDS, id=None, symbols=None, symbol_count=None)
    text = pa.array(["long" * (1 << 20)])
    batch = pa.record_batch(
        [pa.DictionaryArray.from_arrays(pa.array([0] * 1024, pa.int32()), text)], names=["text"]
    )
    before = pa.total_allocated_bytes()
    for number, document in enumerate(read_rows(batch, "table", 0, fields)):
        assert len(document.raw) == 4 << 20
        assert pa.total_allocated_bytes() - before < 64 << 20  # all rows at once take 4 GiB
        if number == 2:
            break


IDENTITY = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (pa.int64(), [7, None], ["7", "a.parquet:1"]),
        (pa.dictionary(pa.int8(), pa.string()), ["x", None], ["x", "a.parquet:1"]),
        (pa.string_view(), ["x", ""], ["x", "a.parquet:1"]),
        (pa.binary(), [b"x", b"\xff"], ["x", "a.parquet:1"]),
        (pa.uuid(), [IDENTITY.bytes, None], [str(IDENTITY), "a.parquet:1"]),
        (pa.float64(), [2.5, None], ["2.5", "a.parquet:1"]),
        (pa.decimal128(4, 1), [Decimal("12.5"), None], ["12.5", "a.parquet:1"]),
        (pa.timestamp("ns"), [1, None], ["1970-01-01 00:00:00.000000001", "a.parquet:1"]),
    ],
    ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
)
def test_an_id_column_of_any_type_that_can_be_written_out(tmp_path, kind, values, expected):
    columns = {"text": ["a", "b"], "name": pa.array(values, kind)}
    items = read_all(open_table(tmp_path / "a.parquet", columns, id_field="name"))
    assert [item.id for item in items] == expected


def test_an_id_that_is_not_utf8_is_no_traceback(tmp_path):
    names = pa.array([b"\xff", b"fine"]).view(pa.string())  # what careless writers produce
    columns = {"text": ["a", "b"], "name": names}
    items = read_all(open_table(tmp_path / "a.parquet", columns, id_field="name"))
    assert [item.id for item in items] == ["a.parquet:0", "fine"]


def test_only_the_columns_that_are_read_must_be_one_of_their_name(tmp_path):
    path = tmp_path / "a.parquet"
    columns = [pa.array(["a"]), pa.array([1]), pa.array([2])]
    pq.write_table(pa.Table.from_arrays(columns, names=["text", "n", "n"]), path)
    assert [item.raw for item in read_all(open_corpus(CorpusConfig(path=str(path))))] == [b"a"]
    for option in ({"text_field": "n"}, {"id_field": "n"}):
        with pytest.raises(
            DataError, match=r"a\.parquet: 2 columns are named 'n'; rename all but one"
        ):
            open_corpus(CorpusConfig(path=str(path), **option))


def test_a_name_with_a_dot_is_a_column_and_no_path_into_one(tmp_path):
    columns = {"meta": [{"text": "inner"}], "meta.text": ["outer"], "meta.id": ["x"]}
    options = {"text_field": "meta.text", "id_field": "meta.id"}
    (item,) = read_all(open_table(tmp_path / "a.parquet", columns, **options))
    assert (item.id, item.raw) == ("x", b"outer")
    with pytest.raises(DataError, match=r"no column 'meta\.text'; there are: meta"):
        open_table(tmp_path / "b.parquet", {"meta": columns["meta"]}, text_field="meta.text")


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
        ({"text_field": "body"}, "no column 'body'; there are: text, number, inner, reals"),
        ({"text_field": "number"}, "column 'number' holds int64, not text"),
        ({"text_field": "inner"}, "column 'inner' holds struct<text: string>, not text"),
        ({"text_field": "reals"}, "column 'reals' holds list<element: double>, not text"),
        ({"id_field": "inner"}, "column 'inner' holds struct<text: string>, not names"),
        ({"symbols_field": "number", "symbol_count": 3}, "not lists of integers"),
        ({"symbols_field": "reals", "symbol_count": 3}, "not lists of integers"),
    ],
)
def test_a_wrong_column_is_named_at_once(tmp_path, options, message):
    columns = {"text": ["a"], "number": [1], "inner": [{"text": "a"}], "reals": [[0.5]]}
    with pytest.raises(DataError, match=message):
        open_table(tmp_path / "a.parquet", columns, **options)


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


@pytest.mark.skipif(sys.platform == "darwin", reason="file names must be Unicode there")
@pytest.mark.parametrize("write", [pq.write_table, feather.write_feather])
def test_a_name_that_is_not_unicode_gets_a_readable_id(tmp_path, write):
    write(pa.table({"text": ["text"]}), str(tmp_path / "plain"))
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.data")
    (tmp_path / "plain").rename(name)
    (item,) = read_all(open_corpus(CorpusConfig(path=str(tmp_path))))
    assert item == Document(id="caf\\xe9.data:0", raw=b"text")


@pytest.mark.parametrize("removed", [True, False])
def test_a_file_that_changes_after_opening_stops_the_run(tmp_path, removed):
    path = tmp_path / "a.parquet"
    corpus = open_table(path, {"text": ["a", "b"]})
    path.unlink()
    if not removed:
        pq.write_table(pa.table({"text": ["a", "bbbbb"]}), path)
    with pytest.raises(DataError, match="changed while it was being read"):
        read_all(corpus)
