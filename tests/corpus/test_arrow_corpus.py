"""Arrow files and streams: one document per row; what is damaged or cut is named."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.opening import open_corpus
from proxylm.errors import DamagedFileError, DataError

FORMS = {"file": pa.ipc.new_file, "stream": pa.ipc.new_stream}
TEXTS = ["one", "zwölf", None, "", "five\r\n", "six"]


def write_table(
    path: Path,
    columns: dict[str, Any],
    new_writer: Callable[..., Any] = pa.ipc.new_file,
    *,
    rows: int = 2,
    compression: str | None = None,
) -> Path:
    table = pa.table(columns)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with (
        pa.OSFile(str(path), "wb") as sink,
        new_writer(sink, table.schema, options=options) as writer,
    ):
        writer.write_table(table, max_chunksize=rows)
    return path


def open_at(path: Path, **options: Any) -> Corpus:
    return open_corpus(CorpusConfig(path=str(path), **options))


def read_all(corpus: Corpus) -> list[Document | Rejection]:
    return [item for part in corpus.parts() for item in corpus.read(part)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_binary()])
def test_rows_are_documents_however_batches_are_grouped(tmp_path, form, compression, kind):
    columns = {"other": range(6), "text": pa.array(TEXTS, kind)}
    path = write_table(tmp_path / "a.arrow", columns, FORMS[form], compression=compression)
    corpus = open_at(path, part_bytes=1)
    places = [place for part in corpus.parts() for _, place in part.ranges]
    parts = [(place.first, place.stop, place.first_row) for place in places]
    assert parts == [(0, 1, 0), (1, 2, 2), (2, 3, 4)]
    items = read_all(pickle.loads(pickle.dumps(corpus)))
    assert [item.id for item in items] == [f"a.arrow:{row}" for row in range(6)]
    raw = [getattr(item, "raw", item.id).decode() for item in items if isinstance(item, Document)]
    assert raw == [text for text in TEXTS if text]
    assert [str(item.reason) for item in items[2:4]] == ["missing_text", "empty"]
    whole = open_at(path)
    assert len(whole.parts()) == 1
    assert read_all(whole) == items
    assert whole.fingerprint != corpus.fingerprint


def test_ids_and_symbols_come_from_their_columns(tmp_path):
    codes = pa.array([[1, 2], [9]], pa.list_(pa.int64()))
    path = write_table(tmp_path / "a.feather", {"t": ["a", "b"], "n": ["x", "y"], "c": codes})
    options = {"text_field": "t", "id_field": "n", "symbols_field": "c", "symbol_count": 5}
    first, second = read_all(open_at(path, **options))
    assert (first.id, first.symbols.tolist()) == ("x", [1, 2])
    assert (second.id, second.reason) == ("y", "bad_symbols")
    with pytest.raises(DataError, match=r"a\.feather: no column 'text'; there are: t, n, c"):
        open_at(path)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_cut_anywhere_is_named(tmp_path, form):
    path = write_table(tmp_path / "a.arrow", {"text": TEXTS}, FORMS[form])
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedFileError, match=r"a\.arrow: damaged Arrow"):
            read_all(open_at(path))


def test_wrong_offsets_are_damage_and_read_no_foreign_memory(tmp_path):
    path = write_table(tmp_path / "a.arrow", {"text": ["x" * 100, "y" * 100]})
    content = path.read_bytes()
    offsets = b"".join(value.to_bytes(4, "little") for value in (0, 100, 200))
    assert content.count(offsets) == 1
    path.write_bytes(content.replace(offsets, offsets[:4] + b"\xff\xff\xff\x7f" + offsets[8:]))
    with pytest.raises(DamagedFileError, match=r"a\.arrow: damaged Arrow"):
        read_all(open_at(path))


@pytest.mark.parametrize("removed", [True, False])
def test_a_file_that_changes_after_opening_stops_the_run(tmp_path, removed):
    path = write_table(tmp_path / "a.arrow", {"text": TEXTS})
    corpus = open_at(path)
    path.unlink()
    if not removed:
        write_table(path, {"text": ["another"]})
    with pytest.raises(DataError, match="changed while it was being read"):
        read_all(corpus)
