"""Files as documents: bytes kept exactly, parts fixed by the corpus, changes noticed."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest
import xxhash

from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.opening import open_corpus
from proxylm.errors import DataError, UsageError

ODD_CONTENTS = {
    "bom.txt": b"\xef\xbb\xbfwith a mark",
    "crlf.txt": b"one\r\ntwo\r\n",
    "invalid.txt": b"\xff\xfe half \xc3",
    "nul.txt": b"a\x00b\x00",
    "sentinel.txt": b"<raw> </raw><compressed><|endoftext|>",
    "surrogate.txt": b"\xed\xa0\x80",
    "white.txt": b" \n\t\n",
}


def open_path(path: Path | str, **options: object) -> Corpus:
    return open_corpus(CorpusConfig(path=str(path), **options))


def read_all(corpus: Corpus) -> list[Document | Rejection]:
    return [item for part in corpus.parts() for item in corpus.read(part)]


def write_files(folder: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_every_odd_file_is_kept_byte_for_byte(tmp_path):
    write_files(tmp_path, ODD_CONTENTS)
    documents = read_all(open_path(tmp_path))
    assert {item.id: item.raw for item in documents} == ODD_CONTENTS


def test_invalid_utf8_is_rejected_only_when_asked(tmp_path):
    write_files(tmp_path, ODD_CONTENTS)
    items = read_all(open_path(tmp_path, invalid_utf8="reject"))
    rejected = {item.id: item.reason for item in items if isinstance(item, Rejection)}
    assert rejected == {"invalid.txt": "invalid_utf8", "surrogate.txt": "invalid_utf8"}
    assert len(items) == len(ODD_CONTENTS)


def test_empty_and_too_long_files_are_counted(tmp_path):
    write_files(tmp_path, {"a": b"", "b": b"12345", "c": b"123456"})
    items = read_all(open_path(tmp_path, max_document_bytes=5))
    assert [(item.id, getattr(item, "reason", None)) for item in items] == [
        ("a", "empty"),
        ("b", None),
        ("c", "too_long"),
    ]


def test_names_are_sorted_and_hidden_ones_left_out(tmp_path):
    write_files(tmp_path, {"b/z.py": b"1", "a.py": b"2", "b/.x.py": b"3", ".git/y.py": b"4"})
    assert [item.id for item in read_all(open_path(tmp_path))] == ["a.py", "b/z.py"]


def test_compiled_code_beside_the_sources_is_left_out(tmp_path):
    write_files(tmp_path, {"a.py": b"1", "b/__pycache__/x.nbc": b"2", "__pycache__/y.pyc": b"3"})
    assert [item.id for item in read_all(open_path(tmp_path))] == ["a.py"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.py", ["a.py", "sub/b.py"]),
        ("sub/*", ["sub/b.py", "sub/c.txt"]),
        ("c.txt", ["sub/c.txt"]),
    ],
)
def test_patterns_match_names_or_whole_paths(tmp_path, pattern, names):
    write_files(tmp_path, {"a.py": b"1", "sub/b.py": b"2", "sub/c.txt": b"3"})
    assert [item.id for item in read_all(open_path(tmp_path, pattern=pattern))] == names


def test_a_pattern_that_matches_nothing_says_so(tmp_path):
    write_files(tmp_path, {"a.py": b"1"})
    with pytest.raises(DataError, match=r"no file matches '\*\.rs'"):
        open_path(tmp_path, pattern="*.rs")


def test_links_out_of_the_tree_are_rejected_and_inner_ones_read(tmp_path):
    outside = tmp_path / "outside"
    inside = tmp_path / "inside"
    write_files(outside, {"secret.txt": b"secret", "folder/x.txt": b"more"})
    write_files(inside, {"a.txt": b"text"})
    (inside / "leak.txt").symlink_to(outside / "secret.txt")
    (inside / "up.txt").symlink_to("../outside/secret.txt")
    (inside / "broken.txt").symlink_to("nowhere")
    (inside / "same.txt").symlink_to("a.txt")
    (inside / "linked").symlink_to(outside / "folder", target_is_directory=True)
    found = {item.id: getattr(item, "reason", None) for item in read_all(open_path(inside))}
    assert found == {
        "a.txt": None,
        "broken.txt": "link",
        "leak.txt": "link",
        "linked": "link",
        "same.txt": None,
        "up.txt": "link",
    }


def test_pipes_are_rejected_and_not_opened(tmp_path):
    write_files(tmp_path, {"a": b"text"})
    os.mkfifo(tmp_path / "pipe")
    assert [getattr(item, "reason", "") for item in read_all(open_path(tmp_path))] == [
        "",
        "not_a_file",
    ]


@pytest.mark.skipif(sys.platform == "darwin", reason="file names must be Unicode there")
def test_a_name_that_is_not_unicode_gets_a_readable_id(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).write_bytes(b"text")
    (item,) = read_all(open_path(tmp_path))
    assert item.id == "caf\\xe9"


def test_parts_group_small_files_and_depend_on_the_corpus_only(tmp_path):
    write_files(tmp_path, {f"{number:02}": b"x" * 10 for number in range(7)})
    corpus = open_path(tmp_path, part_bytes=30)
    assert [(part.first, part.stop, part.num_bytes) for part in corpus.parts()] == [
        (0, 3, 30),
        (3, 6, 30),
        (6, 7, 10),
    ]
    again = pickle.loads(pickle.dumps(corpus))
    assert again.parts() == corpus.parts()
    assert read_all(again) == read_all(corpus)
    assert again.fingerprint == corpus.fingerprint


@pytest.mark.parametrize("change", ["content", "size", "removed"])
def test_a_file_that_changes_after_opening_stops_the_run(tmp_path, change):
    write_files(tmp_path, {"a": b"first", "b": b"second"})
    corpus = open_path(tmp_path)
    if change == "removed":
        (tmp_path / "b").unlink()
    else:
        (tmp_path / "b").write_bytes(b"SECOND" if change == "content" else b"second and more")
    with pytest.raises(DataError, match=r"/b: changed while it was being read"):
        read_all(corpus)


def test_the_fingerprint_names_content_and_options_not_the_place(tmp_path):
    write_files(tmp_path / "one", {"a": b"1", "b": b"2"})
    write_files(tmp_path / "two", {"a": b"1", "b": b"2"})
    write_files(tmp_path / "three", {"a": b"1", "b": b"3"})
    one = open_path(tmp_path / "one").fingerprint
    assert open_path(tmp_path / "two").fingerprint == one
    assert open_path(tmp_path / "three").fingerprint != one
    assert open_path(tmp_path / "one", invalid_utf8="reject").fingerprint != one
    assert open_path(tmp_path / "one", part_bytes=1).fingerprint != one


def test_a_single_file_is_one_document(tmp_path):
    write_files(tmp_path, {"a.py": b"x = 1\n"})
    corpus = open_path(tmp_path / "a.py")
    assert read_all(corpus) == [Document(id="a.py", raw=b"x = 1\n")]
    assert corpus.listing() == [
        {"name": "a.py", "num_bytes": 6, "xxh3_128": xxhash.xxh3_128_hexdigest(b"x = 1\n")}
    ]


def test_a_folder_of_that_name_is_no_standard_library(tmp_path, monkeypatch):
    (tmp_path / "stdlib").mkdir()
    (tmp_path / "stdlib" / "mine.txt").write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    assert read_all(open_path("stdlib")) == [Document(id="mine.txt", raw=b"mine")]


@pytest.mark.parametrize("options", [{"pattern": "*.txt"}, {"files": "records"}])
@pytest.mark.parametrize("path", ["stdlib", "hf:some/set"])
def test_no_choice_among_files_is_ignored(path, options):
    with pytest.raises(UsageError, match=rf"^{path}: {next(iter(options))} '.*leave it out \(--"):
        open_path(path, **options)


@pytest.mark.parametrize(
    "options",
    [{"text_field": "code"}, {"id_field": "url"}, {"symbols_field": "z", "symbol_count": 9}],
)
@pytest.mark.parametrize("place", [".", "a.py"])
def test_no_field_of_records_is_ignored(tmp_path, place, options):
    write_files(tmp_path, {"a.py": b"x = 1\n"})
    with pytest.raises(DataError, match=f"{next(iter(options))} needs records"):
        open_path(tmp_path / place, **options)


def test_the_standard_library_has_no_tests_and_no_installed_packages():
    corpus = open_path("stdlib")
    names = [record["name"] for record in corpus.listing()]
    assert {"ast.py", "json/decoder.py", "asyncio/events.py"} <= set(names)
    folders = {folder for name in names for folder in name.split("/")[:-1]}
    assert not folders & {"test", "tests", "idle_test", "site-packages", "__pycache__"}
    assert corpus.describe()["num_bytes"] > 5_000_000
    by_name = {item.id: item for item in read_all(corpus)}
    assert by_name["ast.py"].raw == Path(sys.modules["ast"].__file__).read_bytes()
