"""Documents or records: what a file holds is seen, and no folder is read in a way it is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed import PACK

from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.opening import open_corpus
from proxylm.corpus.recognition import FileContent, content_at
from proxylm.errors import DataError

LINES = b'{"text": "one"}\n{"text": "two"}\n'
LONG = b'{"text": "%s"}\n{"text": "two"}\n' % (b"x" * 300_000)
TABLE = pa.table({"text": ["one", "two"]})


def written(write: Callable[[pa.BufferOutputStream], None]) -> bytes:
    sink = pa.BufferOutputStream()
    write(sink)
    return sink.getvalue().to_pybytes()


def ipc(new: Callable[..., pa.ipc.RecordBatchStreamWriter]) -> bytes:
    def write(sink: pa.BufferOutputStream) -> None:
        with new(sink, TABLE.schema) as writer:
            writer.write_table(TABLE)

    return written(write)


PARQUET = written(lambda sink: pq.write_table(TABLE, sink))
ARROW, STREAM = ipc(pa.ipc.new_file), ipc(pa.ipc.new_stream)

RECORDS = {
    "x.jsonl": LINES,
    "x.JSONL": LINES,
    "a.ndjson": LINES,
    "a.jsonlines": LINES,
    "c4.json": LINES,
    "long.json": LONG,
    "part-00000": LINES,
    "part.00000-of-00002": LINES,
    "a.jsonl-00001": LINES,
    "a.ndjson.part2": LINES,
    "map.geojson": LINES,
    "a.json.1.gz": PACK[".gz"](LINES),
    "marked": b"\xef\xbb\xbf" + LINES,
    "c4.json.gz": PACK[".gz"](LINES),
    "one.json.gz": PACK[".gz"](LINES[:16]),
    "x.Jsonl.Xz": PACK[".xz"](LINES),
    "x.jsonl.bz2": PACK[".bz2"](LONG),
    "x.zst": PACK[".zst"](LINES),
    "dump": PACK[".zst"](LONG),
    "x.PARQUET": PARQUET,
    "6b86b273ff34": PARQUET,
    "x.parquet.txt": PARQUET,
    "x.arrow": ARROW,
    "x.feather": written(lambda sink: pa.feather.write_feather(TABLE, sink)),
    "texts-train.arrow": STREAM,
    "no-name": STREAM,
}

DOCUMENTS = {
    "a.py": b"x = 1\n",
    "lines.txt": LINES,
    "notes.3": b".TH NOTES 3\n{",
    "a.f90": b"! {\n",
    "log": b'{"a": 1}\nand text\n',
    "one.json": b'{"text": "one"}\n',
    "spread.json": b'{\n "text": "one"\n}\n',
    "array.json": b'[{"text": "one"},\n {"text": "two"}]\n',
    "empty": b"",
    "image.png": b"\x89PNG\r\n\x1a\n",
    "PAR1.md": b"PAR1 begins Parquet, ARROW1 Arrow\n",
    "binary": b"\xff\xff\xff\xff\x10\0\0\0 and no schema",
}

OTHERS = {
    "a.py.gz": PACK[".gz"](b"x = 1\n"),
    "a.csv.zst": PACK[".zst"](b"a,b\n"),
    "table.parquet.xz": PACK[".xz"](PARQUET),
    "array.json.bz2": PACK[".bz2"](b"[1,\n2]"),
    "twice.jsonl.gz.xz": PACK[".xz"](PACK[".gz"](LINES)),
    "a.zip": b"PK\x03\x04\x14\0",
    "a.whl": b"PK\x03\x04\x14\0",
    "a.7z": b"7z\xbc\xaf\x27\x1c\0\4",
    "a.lz4": b"\x04\x22\x4d\x18\x64",
    "a.tar": bytes(257) + b"ustar\x0000",
    "old.feather": b"FEA1\0\0\0\0",
    "a.avro": b"Obj\x01\x04",
    "a.jsonl.br": b"\x1b\x03\0",
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def open_at(path: Path, **options: object) -> Corpus:
    return open_corpus(CorpusConfig(path=str(path), **options))


def read(corpus: Corpus) -> list[Document | Rejection]:
    return [item for part in corpus.parts() for item in corpus.read(part)]


@pytest.mark.parametrize("name", RECORDS)
def test_a_file_of_records_gives_its_records(tmp_path, name):
    items = read(open_at(write(tmp_path, {name: RECORDS[name]}) / name))
    expected = [b"one"] if name.startswith("one") else [b"one", b"two"]
    assert [item.raw.replace(b"x" * 300_000, b"one") for item in items] == expected


@pytest.mark.parametrize("name", RECORDS)
def test_a_folder_of_records_is_no_folder_of_documents(tmp_path, name):
    files = {f"{number}/{name}": RECORDS[name] for number in range(2)}
    about = {"README.md": b"about", "_SUCCESS": b"", "dataset_infos.json": b"{}", "LICENSE": b"MIT"}
    about |= {"0.lock": b"", f"{name}.sha256": b"12  ab", "MD5SUMS": b"34  cd"}
    corpus = open_at(write(tmp_path, files | about))
    assert [item.id.partition("/")[0] for item in read(corpus)] == sorted(
        "01" * (1 if name.startswith("one") else 2)
    )
    assert corpus.skipped == {"not_records": 7}
    raw = read(open_at(tmp_path, files="documents"))
    assert {item.id: getattr(item, "raw", b"") for item in raw} == files | about


@pytest.mark.parametrize("name", DOCUMENTS)
def test_other_files_are_documents_as_they_are(tmp_path, name):
    content = DOCUMENTS[name]
    [item] = read(open_at(write(tmp_path, {name: content}) / name))
    assert item == (
        Document(id=name, raw=content) if content else Rejection(id=name, reason="empty")
    )


@pytest.mark.parametrize("name", OTHERS)
def test_packed_bytes_become_a_document_only_when_asked(tmp_path, name):
    write(tmp_path, {name: OTHERS[name], "a.py": b"x = 1\n"})
    with pytest.raises(
        DataError, match=rf"{name}: is compressed or an archive.* --files documents"
    ):
        open_at(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: is compressed or an archive"):
        open_at(tmp_path, pattern=name)
    kept, left = sorted(read(open_at(tmp_path)), key=lambda item: isinstance(item, Rejection))
    assert (kept.raw, left) == (b"x = 1\n", Rejection(id=name, reason="packed"))
    [item] = read(open_at(tmp_path / name, files="documents"))
    assert item.raw == OTHERS[name]


@pytest.mark.parametrize("name", [*list(RECORDS)[:3], "dump", "x.PARQUET", "no-name"])
@pytest.mark.parametrize("beside", ["a.py", "a.zip"])
def test_a_folder_of_both_is_refused_until_one_is_chosen(tmp_path, name, beside):
    content = (DOCUMENTS | OTHERS)[beside]
    write(tmp_path, {name: RECORDS[name], beside: content})
    with pytest.raises(DataError, match=rf"1 of 2 files hold records .*{name}.*{beside}.*--files"):
        open_at(tmp_path)
    records = open_at(tmp_path, files="records")
    assert (len(read(records)), records.skipped) == (2, {"not_records": 1})
    assert len(read(open_at(tmp_path, pattern=name))) == 2
    assert {item.raw for item in read(open_at(tmp_path, files="documents"))} == {
        content,
        RECORDS[name],
    }


def test_records_of_two_kinds_are_refused(tmp_path):
    write(tmp_path, {"a.jsonl": LINES, "b.parquet": PARQUET})
    for files in ("auto", "records"):
        with pytest.raises(DataError, match=r"JSON lines \(first: a\.jsonl\) and Parquet"):
            open_at(tmp_path, files=files)
    assert len(read(open_at(tmp_path, pattern="*.parquet"))) == 2


def test_a_lost_file_or_folder_of_records_is_an_error(tmp_path):
    folder = write(tmp_path / "texts", {"a.jsonl": LINES})
    (tmp_path / "more").mkdir()
    (folder / "more").symlink_to(tmp_path / "more")
    with pytest.raises(DataError, match=r"more is not a file inside it \(link\)"):
        open_at(folder)


def test_records_where_there_are_none_are_an_error(tmp_path):
    write(tmp_path, {"a.py": b"x = 1\n", "a.zip": OTHERS["a.zip"]})
    with pytest.raises(DataError, match="no file of records"):
        open_at(tmp_path, files="records")


def test_a_pipe_is_neither_file_nor_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: neither a file nor a folder"):
        open_at(tmp_path / "pipe")


@given(name=st.sampled_from(["a", "a.json", "a.gz", "a.txt", "a.arrow"]), content=st.binary())
@settings(max_examples=40, deadline=None)
def test_any_bytes_are_something(tmp_path_factory, name, content):
    path = tmp_path_factory.mktemp("bytes") / name
    for first in (b"", b"\x1f\x8b\x08", b"\xff\xff\xff\xff", b"\x28\xb5\x2f\xfd", b"{"):
        path.write_bytes(first + content)
        assert content_at(path, name) in FileContent


def test_corpora_that_were_read_well_keep_their_fingerprints(tmp_path):
    # Recorded before formats were told by first bytes: a store goes on only with its corpus.
    raw = write(tmp_path / "raw", {"a.py": b"x = 1\n", "b/c.txt": b"y\r\n", ".git/x": b"z"})
    (raw / "same.py").symlink_to("a.py")
    (raw / "broken").symlink_to("nowhere")
    packed = "1f8b0800000000000203ab562a49ad2851b25250cacf4b55aae502006d03d10610000000"
    lines = write(tmp_path / "lines", {"a.jsonl": LINES, "b.jsonl.gz": bytes.fromhex(packed)})
    corpora = {
        "300653ec70395438cff1e7de10e0bff8": open_at(raw),
        "827298eb16ab614aa8a52f036263dd47": open_at(raw, pattern="b/*"),
        "f2a8d42bec91727c3d34489e9edcf2ac": open_at(lines / "a.jsonl", part_bytes=10),
        "d01e5bc8128f351d455c2465ec940209": open_at(lines / "b.jsonl.gz"),
        "2c3f76e31b38093efa9cf98a30a4cd2f": open_at(lines, pattern="*.jsonl"),
    }
    assert {name: corpus.fingerprint for name, corpus in corpora.items()} == {
        name: name for name in corpora
    }
    assert [len(corpus.parts()) for corpus in corpora.values()] == [1, 1, 2, 1, 1]
