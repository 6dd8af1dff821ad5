"""Documents that a program holds, as a corpus like any other."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from proxylm.corpus import memory
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.memory import MemoryCorpus
from proxylm.corpus.opening import as_corpus
from proxylm.errors import DataError, UsageError

TEXTS = [b"one", b"\xff\0 two", b"three" * 4, b"4", b"five"]


def test_bytes_and_pairs_of_any_iterable_are_documents_in_order():
    items = [b"one", ("mine", b"two"), (7, bytearray(b"three")), np.frombuffer(b"four", np.uint8)]
    corpus = as_corpus(item for item in items)
    found = [(one.id, one.raw) for one in corpus.documents()]
    assert found == [
        ("documents:0", b"one"),
        ("mine", b"two"),
        ("7", b"three"),
        ("documents:3", b"four"),
    ]


def test_parts_close_at_their_size_and_hold_everything(monkeypatch):
    monkeypatch.setattr(memory, "PART_BYTES", 8)
    corpus = MemoryCorpus(TEXTS)
    parts = corpus.parts()
    assert [part.num_bytes for part in parts] == [9, 20, 5]
    assert [one.raw for part in parts for one in corpus.read(part)] == TEXTS


def test_what_is_no_document_is_rejected_as_in_files(monkeypatch):
    monkeypatch.setattr(memory, "MAX_DOCUMENT_BYTES", 10)
    corpus = MemoryCorpus([b"", b"good", b"x" * 11])
    empty, good, long = [one for part in corpus.parts() for one in corpus.read(part)]
    assert good == Document(id="documents:1", raw=b"good")
    assert empty == Rejection(id="documents:0", reason="empty")
    assert long == Rejection(id="documents:2", reason="too_long", detail="11 bytes")


def test_the_fingerprint_names_contents_ids_and_limits(monkeypatch):
    corpora = [
        MemoryCorpus([b"ab", b"c"]),
        MemoryCorpus([b"a", b"bc"]),
        MemoryCorpus([("x", b"ab"), b"c"]),
    ]
    names = {corpus.fingerprint for corpus in corpora}
    for limit in ("PART_BYTES", "MAX_DOCUMENT_BYTES"):
        with monkeypatch.context() as patched:
            patched.setattr(memory, limit, 1)
            names.add(MemoryCorpus([b"ab", b"c"]).fingerprint)
    assert len(names) == len(corpora) + 2
    again = pickle.loads(pickle.dumps(corpora[2]))
    assert again.fingerprint == corpora[2].fingerprint
    assert list(again.documents()) == list(corpora[2].documents())


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (["text"], "document 0: a document is bytes, not str; encode text first"),
        ([b"a", ("id", "text")], "document 1: a document is bytes, not str"),
        ([b"a", None], "document 1: a document is bytes, not NoneType"),
        ([b"a", (b"a", b"b", b"c")], "document 1: a document is bytes, not tuple"),
        (b"one document", "documents: expected a list, found one bytes"),
        (17, "documents: expected a list, found one int"),
        ("", "documents: path: "),
    ],
)
def test_what_cannot_be_documents_is_said_in_one_line(documents, message):
    with pytest.raises(UsageError, match=message):
        as_corpus(documents)


def test_nothing_at_all_is_an_error():
    with pytest.raises(DataError, match="documents: holds nothing to read"):
        as_corpus([])


def test_paths_and_open_corpora_are_documents_too(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"first")
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "second"}))
    folder = as_corpus(tmp_path / "a.txt")
    assert [one.raw for one in folder.documents()] == [b"first"]
    assert as_corpus(folder) is folder
    assert [one.raw for one in as_corpus(str(tmp_path / "b.jsonl")).documents()] == [b"second"]
