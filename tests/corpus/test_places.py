"""Corpora at URLs are those of folders; what a file system cannot do is one line."""

from __future__ import annotations

import gzip
import json
import sys
from functools import partial
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFile

from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.listing import list_folder, list_url
from proxylm.corpus.opening import open_corpus
from proxylm.errors import DamagedFileError, DataError, UsageError

TEXTS = [f"text {number} é\n" * (number + 1) for number in range(30)]
LINES = "\n".join(json.dumps({"text": text}) for text in TEXTS).encode()


@pytest.fixture
def memory():
    """The file system of ``memory://``, empty before and after."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def write_corpora(folder: Path) -> list[str]:
    """Corpora of every format; returns their names."""
    table = pa.table({"text": TEXTS})
    for name in ("lines", "packed", "parquet", "arrow", "files"):
        (folder / name).mkdir()
    (folder / "lines" / "a.jsonl").write_bytes(LINES)
    (folder / "packed" / "a.jsonl.gz").write_bytes(gzip.compress(LINES))
    pq.write_table(table, folder / "parquet" / "a.parquet", row_group_size=7)
    pyarrow.feather.write_feather(table, folder / "arrow" / "a.arrow", "uncompressed", chunksize=9)
    for number, text in enumerate(TEXTS):
        (folder / "files" / f"{number}.txt").write_text(text)
    return [path.name for path in sorted(folder.iterdir())]


def contents(corpus: Corpus) -> list[tuple[int, object]]:
    return [(part.index, item) for part in corpus.parts() for item in corpus.read(part)]


def test_a_url_is_read_as_a_folder_is(tmp_path, memory):
    for name in write_corpora(tmp_path):
        memory.put(str(tmp_path / name), f"/corpus/{name}", recursive=True)
        options = {"pattern": "*[!~]", "part_bytes": 300}
        local = open_corpus(CorpusConfig(path=str(tmp_path / name), **options))
        for url in (f"memory://corpus/{name}", f"file://{tmp_path}/{name}/"):
            corpus = open_corpus(CorpusConfig(path=url, **options))
            assert contents(corpus) == contents(local), (name, url)
            assert corpus.fingerprint == local.fingerprint
            assert corpus.describe() == local.describe() | {"name": url}
        assert len(local.parts()) > (1 if name == "packed" else 3) - 1


def test_one_file_at_a_url(memory):
    memory.pipe("/corpus/a.jsonl", LINES)
    corpus = open_corpus(CorpusConfig(path="memory://corpus/a.jsonl"))
    assert [document.raw.decode() for document in corpus.documents()] == TEXTS
    assert next(corpus.documents()).id == "a.jsonl:1"


def test_names_at_a_url_are_skipped_by_the_rules_of_folders(tmp_path, memory):
    names = ["a.py", "b/c.py", "b/d.txt", ".git/x.py", ".git/y.py", "b/__pycache__/z.py", "b/.e.py"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        memory.pipe(f"/root/{name}", name.encode())
    for pattern in ("*", "*.py", "b/*", "**/*.py"):
        here, there = list_folder(tmp_path, pattern), list_url("memory://root", pattern)
        assert [one.name for one in there.entries] == [one.name for one in here.entries]
        assert there.skipped == here.skipped
        assert here.skipped["hidden"] == 3


def test_a_file_that_changes_at_a_url_stops_the_run(tmp_path, memory):
    for name in write_corpora(tmp_path):
        memory.put(str(tmp_path / name), f"/corpus/{name}", recursive=True)
        corpus = open_corpus(CorpusConfig(path=f"memory://corpus/{name}", part_bytes=300))
        path = memory.find(f"/corpus/{name}")[-1]
        memory.pipe(path, memory.cat(path)[:-8] + b"changed!")
        with pytest.raises(DataError, match=r"changed while it was being read|damaged gzip"):
            contents(corpus)
        memory.rm(path)
        with pytest.raises(DataError, match="changed while it was being read"):
            contents(corpus)


def test_damage_at_a_url_is_named(memory):
    memory.pipe("/corpus/a.parquet", b"PAR1\x15 and no more")
    with pytest.raises(DamagedFileError, match=r"memory:///corpus/a\.parquet: damaged Parquet"):
        open_corpus(CorpusConfig(path="memory://corpus"))


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("memory://nowhere", DataError, "memory://nowhere: no such file or folder"),
        ("nosuch://bucket/x", UsageError, "nosuch://bucket/x: no such file system"),
    ],
)
def test_urls_that_lead_nowhere(memory, path, error, message):
    with pytest.raises(error, match=message):
        open_corpus(CorpusConfig(path=path))


def test_a_file_system_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UsageError, match=r"s3://bucket/x: .*[Ii]nstall s3fs"):
        open_corpus(CorpusConfig(path="s3://bucket/x"))


def test_what_a_file_system_says_comes_in_one_line(memory, monkeypatch):
    memory.pipe("/corpus/a.jsonl", LINES)

    def refuse(*args, **kwargs):
        raise RuntimeError("no\n  credentials")

    for name in ("info", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(type(memory), name, refuse)
            with pytest.raises(DataError, match=r"corpus.*cannot be read \(no credentials\)"):
                open_corpus(CorpusConfig(path="memory://corpus/a.jsonl"))


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])
def test_a_file_system_that_fails_while_it_is_read_is_named(tmp_path, memory, monkeypatch, kind):
    def refuse(*args, **kwargs):
        raise kind("hung\nup")

    for name in write_corpora(tmp_path):
        memory.put(str(tmp_path / name), f"/corpus/{name}", recursive=True)
        config = CorpusConfig(path=f"memory://corpus/{name}")
        corpus = open_corpus(config)
        with monkeypatch.context() as patch:
            patch.setattr(MemoryFile, "read", refuse)
            for reads in (partial(contents, corpus), partial(open_corpus, config)):
                with pytest.raises(DataError, match=rf"corpus/{name}/.*: cannot be read \(hung up"):
                    reads()
