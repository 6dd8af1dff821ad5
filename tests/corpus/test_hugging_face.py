"""Hugging Face data sets, with a stand-in for the optional library."""

from __future__ import annotations

import pickle
import sys
from types import ModuleType, SimpleNamespace

import pyarrow as pa
import pytest

from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import RangePart
from proxylm.corpus.hugging_face import HuggingFaceCorpus
from proxylm.corpus.opening import open_corpus
from proxylm.errors import DataError, UsageError


class StoredDataset:
    """The little of ``datasets.Dataset`` that is used."""

    def __init__(self, texts: list[str]) -> None:
        self.data = SimpleNamespace(table=pa.table({"text": texts}))
        self._fingerprint = f"{len(texts)} texts"

    def flatten_indices(self) -> StoredDataset:
        return self


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("datasets")
    module.asked = []

    def load_dataset(path: str, name: str | None, split: str) -> StoredDataset:
        module.asked.append((path, name, split))
        if path == "nobody/nothing":
            raise FileNotFoundError("Dataset 'nobody/nothing' doesn't exist\nand more")
        return StoredDataset([f"text {number}" for number in range(10)])

    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


def test_what_exists_is_a_path_whatever_it_looks_like(library, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hf:mine").mkdir()
    (tmp_path / "hf:mine" / "a.txt").write_text("text")
    corpus = open_corpus(CorpusConfig(path="hf:mine"))
    assert [item.raw for part in corpus.parts() for item in corpus.read(part)] == [b"text"]
    assert library.asked == []


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("hf:some/set", ("some/set", None)),
        ("hf:some/set:python", ("some/set", "python")),
        ("hf:./da:ta", ("./da:ta", None)),
        ("hf:./da:ta:python", ("./da:ta", "python")),
    ],
)
def test_folders_with_colons_are_folders(library, tmp_path, monkeypatch, name, asked):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "da:ta").mkdir()
    open_corpus(CorpusConfig(path=name))
    assert library.asked == [(*asked, "train")]


def test_rows_come_in_parts_and_a_worker_opens_the_table_again(library):
    corpus = open_corpus(CorpusConfig(path="hf:some/set:python", part_bytes=40))
    copy = pickle.loads(pickle.dumps(corpus))
    items = [item for part in corpus.parts() for item in copy.read(part)]
    assert [item.raw for item in items] == [b"text %d" % number for number in range(10)]
    assert items[7].id == "hf:some/set:python:7"
    assert len(corpus.parts()) > 1
    assert library.asked == [("some/set", "python", "train")] * 2


def test_an_unknown_name_or_column_is_one_line(library):
    with pytest.raises(DataError, match="hf:nobody/nothing: cannot be loaded") as error:
        open_corpus(CorpusConfig(path="hf:nobody/nothing"))
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="no column 'body'"):
        open_corpus(CorpusConfig(path="hf:some/set", text_field="body"))


class GenerationError(Exception):
    """What the library raises, with the cause behind it."""


def failing(error: Exception, cause: Exception | None = None):
    def load_dataset(path: str, name: str | None, split: str) -> StoredDataset:
        raise error from cause

    return load_dataset


@pytest.mark.parametrize(
    ("error", "cause", "shown"),
    [
        (GenerationError("An error occurred"), pa.ArrowInvalid("bad row\nand more"), "bad row"),
        (IndexError("list index out of range"), None, "list index out of range"),
        (EOFError(), None, "EOFError"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), None, "'utf-8' codec"),
        (RuntimeError("no scripts"), KeyError("features"), "'features'"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_whatever_the_library_raises_is_one_line(library, error, cause, shown):
    library.load_dataset = failing(error, cause)
    with pytest.raises(DataError) as raised:
        open_corpus(CorpusConfig(path="hf:some/set"))
    assert str(raised.value).startswith(f"hf:some/set: cannot be loaded ({shown}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("path", ["hf:", "hf:/", "hf: ", "hf::python"])
def test_a_name_without_a_data_set_is_refused(library, path):
    with pytest.raises(UsageError, match="names no data set; write hf:NAME"):
        open_corpus(CorpusConfig(path=path))
    assert library.asked == []


class TruncatedTable:
    """A memory-mapped file that fails when its rows are touched."""

    def slice(self, first: int, rows: int) -> pa.Table:
        raise pa.ArrowInvalid("truncated")


def test_a_stored_table_that_cannot_be_read_names_the_row(library, monkeypatch):
    corpus = open_corpus(CorpusConfig(path="hf:some/set"))
    monkeypatch.setattr(HuggingFaceCorpus, "_table", TruncatedTable())
    with pytest.raises(DataError, match=r"hf:some/set: row 0 or later cannot be read \(truncated"):
        list(corpus.read(RangePart(index=0, num_bytes=1, first=0, stop=1)))


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'proxylm\[datasets\]'"):
        open_corpus(CorpusConfig(path="hf:some/set"))
