"""JSON lines: a bad line costs itself only; every split of the file gives the same documents."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.opening import open_corpus
from proxylm.errors import DamagedFileError, DataError, UsageError


def open_lines(path: Path, content: bytes, **options: object) -> Corpus:
    path.write_bytes(content)
    return open_corpus(CorpusConfig(path=str(path), **options))


def read_all(corpus: Corpus) -> list[Document | Rejection]:
    return [item for part in corpus.parts() for item in corpus.read(part)]


GOOD = b'{"text": "good"}'

BAD_LINES = [
    (b'{"text": "caf\xe9"}', "invalid_utf8"),
    (b'{"text": "\\ud800"}', "lone_surrogate"),
    (b'{"text": ""}', "empty"),
    (b"", "empty"),
    (b"  \r", "empty"),
    (b'{"text": "cut', "invalid_json"),
    (b'"text"', "invalid_json"),
    (b"[1, 2]", "invalid_json"),
    (b"null", "invalid_json"),
    (b'{"text": "a"} {"text": "b"}', "invalid_json"),
    (b'{"body": "x"}', "missing_text"),
    (b'{"text": null}', "missing_text"),
    (b'{"text": 3}', "wrong_text_type"),
    (b'{"text": ' + b"9" * 5000 + b"}", "wrong_text_type"),
    (b'{"text": "x", "big": ' + b"9" * 5000, "invalid_json"),
    (b'{"text": NaN}', "wrong_text_type"),
    (b'{"text": ["a"]}', "wrong_text_type"),
    (b'{"text": {"a": "b"}}', "wrong_text_type"),
    (b'{"text": "a", "text": "b"}', "duplicate_key"),
    (b'{"text": "a", "\\u0074ext": "b"}', "duplicate_key"),
    (b'{"text": ' + b"[" * 200_000, "too_deep"),
    (b'{"text": "x", "deep": ' + b'{"a":' * 200_000 + b"1" + b"}" * 200_001, "too_deep"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_a_bad_line_is_rejected_with_its_reason_and_the_rest_is_kept(tmp_path, line, reason):
    corpus = open_lines(tmp_path / "a.jsonl", b"\n".join((GOOD, line, GOOD)))
    first, bad, last = read_all(corpus)
    assert (first.raw, last.raw) == (b"good", b"good")
    assert (bad.id, bad.reason) == ("a.jsonl:2", reason)


GOOD_LINES = [
    (b'{"text": "a\\u0000b"}', b"a\x00b"),
    (b'{"text": " \\n\\t"}', b" \n\t"),
    (b'{"text": "x"}\r', b"x"),
    (b'{"text": "x", "score": NaN, "limit": -Infinity}', b"x"),
    (b'{"text": "x", "meta": 1, "meta": 2}', b"x"),
    (b'{"text": "x", "big": ' + b"9" * 5000 + b"}", b"x"),
    (b'{"big": {"deep": [-1' + b"0" * 4300 + b', 2]}, "text": "x"}', b"x"),
    (b'{"text": "</raw><compressed>"}', b"</raw><compressed>"),
    (b'{"text": "\\ud83e\\udd17"}', "🤗".encode()),
    (b'\xef\xbb\xbf{"text": "mark"}', b"mark"),
]


@pytest.mark.parametrize(("line", "raw"), GOOD_LINES)
def test_odd_but_sound_lines_are_documents(tmp_path, line, raw):
    assert [item.raw for item in read_all(open_lines(tmp_path / "a.jsonl", line))] == [raw]


def test_the_last_line_needs_no_newline(tmp_path):
    for end in (b"", b"\n"):
        corpus = open_lines(tmp_path / "a.jsonl", GOOD + b"\n" + GOOD + end)
        assert [item.id for item in read_all(corpus)] == ["a.jsonl:1", "a.jsonl:2"]


LINES = st.lists(
    st.one_of(
        st.text(max_size=20).map(lambda text: json.dumps({"text": text}).encode()),
        st.sampled_from([line for line, _ in BAD_LINES if len(line) < 100]),
    ),
    min_size=1,
    max_size=20,
)


@given(lines=LINES, part_bytes=st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_any_division_gives_the_same_documents(tmp_path_factory, lines, part_bytes):
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    content = b"\n".join(lines) + b"\n"
    whole = read_all(open_lines(path, content))
    corpus = open_lines(path, content, part_bytes=part_bytes)
    assert read_all(corpus) == whole
    assert len(whole) == content.count(b"\n")
    parts = corpus.parts()
    ranges = [place for part in parts for _, place in part.ranges]
    assert ranges[0].first == 0 and ranges[-1].stop == len(content)
    assert all(a.stop == b.first for a, b in pairwise(ranges))
    assert all(part.num_bytes > 0 for part in parts)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compressed_files_read_as_their_text(tmp_path, ending):
    text = b"".join(json.dumps({"text": f"document {n}"}).encode() + b"\n" for n in range(5000))
    pack = gzip.compress if ending == ".gz" else zstandard.compress
    # Two members, as concatenated files have.
    content = pack(text[:70_000]) + pack(text[70_000:])
    corpus = open_lines(tmp_path / f"a.jsonl{ending}", content)
    assert len(corpus.parts()) == 1
    plain = open_lines(tmp_path / "a.jsonl", text)
    assert [item.raw for item in read_all(corpus)] == [item.raw for item in read_all(plain)]


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("damage", ["truncated", "half", "zero length", "flipped", "not at all"])
def test_a_damaged_compressed_file_fails_with_its_name(tmp_path, ending, damage):
    text = b"".join(json.dumps({"text": f"{n} " * 50}).encode() + b"\n" for n in range(3000))
    if ending == ".gz":
        content = gzip.compress(text)
    else:
        content = zstandard.ZstdCompressor(write_checksum=True).compress(text)
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 16])
    damaged = {
        "truncated": content[:-1],
        "half": content[:middle],
        "zero length": b"",
        "flipped": content[:middle] + flipped + content[middle + 1 :],
        "not at all": b"plain text",
    }[damage]
    corpus = open_lines(tmp_path / f"a.jsonl{ending}", damaged)
    with pytest.raises(DamagedFileError, match=rf"a\.jsonl\{ending}"):
        read_all(corpus)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_file_that_changes_after_opening_stops_the_run(tmp_path, ending):
    content = b"".join(b'{"text": "%d"}\n' % number for number in range(100))
    path = tmp_path / f"a.jsonl{ending}"
    corpus = open_lines(path, gzip.compress(content) if ending else content, part_bytes=100)
    changed = content.replace(b'"77"', b'"78"')
    path.write_bytes(gzip.compress(changed) if ending else changed)
    with pytest.raises(DataError, match=r"changed while it was being read"):
        read_all(corpus)


def test_a_line_over_the_limit_is_skipped_and_counted(tmp_path):
    lines = [GOOD, b'{"text": "%s"}' % (b"x" * 5_000_000), GOOD]
    items = read_all(open_lines(tmp_path / "a.jsonl", b"\n".join(lines), max_document_bytes=10_000))
    assert [getattr(item, "reason", None) for item in items] == [None, "too_long", None]
    assert items[1].detail == "5000012 bytes"


READ_IN_LITTLE_MEMORY = """
import re, sys
from pathlib import Path
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.opening import open_corpus
corpus = open_corpus(CorpusConfig(path=sys.argv[1]))
items = [item for part in corpus.parts() for item in corpus.read(part)]
print([str(getattr(item, "reason", "document")) for item in items])
# Not ru_maxrss: a child starts with the peak of the process that it was forked from.
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024)
"""


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_a_line_of_200_megabytes_costs_little_memory(tmp_path, ending):
    line = b'{"text": "%s"}\n' % (b"x" * 200_000_000)
    pack = {"": bytes, ".gz": lambda text: gzip.compress(text, 1), ".zst": zstandard.compress}
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(pack[ending](line + GOOD + b"\n"))
    command = [sys.executable, "-c", READ_IN_LITTLE_MEMORY, str(path)]
    reasons, peak = subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    assert reasons == b"['too_long', 'document']"
    assert int(peak) < 1 << 30


def test_ids_come_from_a_field_where_it_has_one(tmp_path):
    lines = [{"text": "a", "name": "x"}, {"text": "b", "name": 7}, {"text": "c"}]
    content = "\n".join(map(json.dumps, lines)).encode() + b'\n{"text": "d", "name": "\\udc00"}'
    items = read_all(open_lines(tmp_path / "a.jsonl", content, id_field="name"))
    assert [item.id for item in items] == ["x", "7", "a.jsonl:3", "a.jsonl:4"]


@pytest.mark.parametrize(
    ("value", "identity"),
    [("1.5", "1.5"), ("9" * 5000, "a.jsonl:1"), ("NaN", "a.jsonl:1"), ("[1]", "a.jsonl:1")],
    ids=["fraction", "long", "no number", "list"],
)
def test_numbers_name_documents_where_python_can_write_them(tmp_path, value, identity):
    line = f'{{"text": "a", "name": {value}}}'.encode()
    (item,) = read_all(open_lines(tmp_path / "a.jsonl", line, id_field="name"))
    assert (item.id, item.raw) == (identity, b"a")


def test_a_long_number_changes_no_field_beside_it(tmp_path):
    line = b'{"text": "a", "name": 12, "codes": [3, 0], "x": [[' + b"7" * 9999 + b"]]}"
    options = {"id_field": "name", "symbols_field": "codes", "symbol_count": 10}
    (item,) = read_all(open_lines(tmp_path / "a.jsonl", line, **options))
    assert (item.id, item.symbols.tolist()) == ("12", [3, 0])


def test_symbols_that_come_with_documents_are_checked_against_their_count(tmp_path):
    lines = [
        {"text": "a", "codes": [0, 9]},
        {"text": "b", "codes": [10]},
        {"text": "c", "codes": [-1]},
        {"text": "d"},
        {"text": "e", "codes": "12"},
        {"text": "f", "codes": [1.5]},
        {"text": "g", "codes": [[1], [2, 3]]},
        {"text": "h", "codes": [10**30]},
        {"text": "i", "codes": []},
        {"text": "j", "codes": [True, 2]},
        {"text": "k", "codes": [2.0]},
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    corpus = open_lines(tmp_path / "a.jsonl", content, symbols_field="codes", symbol_count=10)
    assert corpus.given_symbol_count == 10
    first, *others = read_all(corpus)
    np.testing.assert_array_equal(first.symbols, np.array([0, 9], dtype=np.uint32))
    assert first.symbols.dtype == np.uint32
    assert {item.reason for item in others} == {"bad_symbols"}


def test_a_symbols_field_needs_its_count():
    from proxylm.config import validate_config

    with pytest.raises(UsageError, match="go together"):
        validate_config(CorpusConfig, {"path": "a.jsonl", "symbols_field": "codes"})


def test_a_folder_of_line_files_is_one_corpus(tmp_path):
    (tmp_path / "b.jsonl").write_bytes(GOOD)
    (tmp_path / "a.jsonl").write_bytes(GOOD + b"\n" + GOOD)
    corpus = open_corpus(CorpusConfig(path=str(tmp_path), pattern="*.jsonl"))
    assert [item.id for item in read_all(corpus)] == ["a.jsonl:1", "a.jsonl:2", "b.jsonl:1"]
    (tmp_path / "c.jsonl").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match=r"c\.jsonl"):
        open_corpus(CorpusConfig(path=str(tmp_path), pattern="*.jsonl"))


def test_a_file_of_nothing_says_so(tmp_path):
    with pytest.raises(DataError, match="holds nothing to read"):
        open_lines(tmp_path / "a.jsonl", b"")
