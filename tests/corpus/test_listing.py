"""Folders: every name in them is listed, rejected or counted; links end and lead nowhere else."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.document import Rejection
from proxylm.corpus.listing import Listing, list_folder, matcher
from proxylm.corpus.opening import open_corpus
from proxylm.errors import DataError


def write_files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def link(path: Path, target: Path | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def names(listing: Listing) -> list[str]:
    return [entry.name for entry in listing.entries if not isinstance(entry, Rejection)]


def rejected(listing: Listing) -> dict[str, str]:
    entries = listing.entries
    return {entry.id: str(entry.reason) for entry in entries if isinstance(entry, Rejection)}


def test_a_linked_folder_elsewhere_is_rejected_whatever_the_pattern(tmp_path):
    write_files(tmp_path / "elsewhere", "x.py")
    root = write_files(tmp_path / "root", "a.py")
    link(root / "sub" / "linked", tmp_path / "elsewhere")
    link(root / "up", tmp_path)
    for pattern in ("*", "*.py", "sub/*"):
        assert rejected(list_folder(root, pattern)) == {"sub/linked": "link", "up": "link"}
    corpus = open_corpus(CorpusConfig(path=str(root)))
    [_, *reasons] = [item for part in corpus.parts() for item in corpus.read(part)]
    assert [item.reason for item in reasons] == ["link", "link"]


def test_the_files_of_linked_folders_inside_are_listed_once(tmp_path):
    root = write_files(tmp_path, "a/x.py", "b/y.py", ".kept/v1/z.py")
    link(root / "again", "a")
    link(root / "data", ".kept/v1")  # its files stand nowhere else
    link(root / "data-too", ".kept")
    listing = list_folder(root)
    assert names(listing) == ["a/x.py", "b/y.py", "data/z.py"]
    # ``again``, and ``v1`` below ``data-too``, are there already.
    assert listing.skipped == {"hidden": 1, "linked_again": 2}
    assert rejected(listing) == {}


def test_links_in_circles_end(tmp_path):
    root = write_files(tmp_path, "a/x.py", "b/y.py")
    link(root / "a" / "to-b", "../b")
    link(root / "b" / "to-a", "../a")
    link(root / "b" / "up", "..")
    link(root / "self", "self")
    link(root / "there", "back")
    link(root / "back", "there")
    listing = list_folder(root)
    assert names(listing) == ["a/x.py", "b/y.py"]
    assert listing.skipped == {"linked_again": 3}
    assert rejected(listing) == {"back": "link", "self": "link", "there": "link"}


def test_a_tree_deeper_than_the_interpreter_calls(tmp_path):
    folders = [f"{tmp_path}{'/d' * depth}" for depth in range(1, 1201)]
    for folder in folders:
        os.mkdir(folder)  # noqa: PTH102 - a Path of this depth takes as many calls
    Path(folders[-1], "x.py").write_bytes(b"deep")
    listing = list_folder(tmp_path)
    too_long = tmp_path / "/".join(["long" * 50] * 10)
    too_long.mkdir(parents=True)
    (tmp_path / "d").rename(too_long / "d")
    with pytest.raises(DataError, match="nested so deep that the system cannot open it") as error:
        list_folder(tmp_path)
    assert len(str(error.value)) < 300
    (too_long / "d").rename(tmp_path / "d")
    Path(folders[-1], "x.py").unlink()
    for folder in reversed(folders):
        os.rmdir(folder)  # noqa: PTH106 - nor does pytest remove it
    assert names(listing) == ["d/" * 1200 + "x.py"]


@given(
    links=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), unique=True, max_size=8),
    hidden=st.sets(st.integers(1, 4), max_size=2),
)
@settings(max_examples=30, deadline=None)
def test_any_links_list_each_reachable_file_once(tmp_path_factory, links, hidden):
    root = tmp_path_factory.mktemp("tree")
    folders = [root, *(root / f"{'.' if n in hidden else ''}d{n}" for n in range(1, 5))]
    for number, folder in enumerate(folders):
        folder.mkdir(exist_ok=True)
        (folder / "file").write_text(f"{number}")
    for number, (source, target) in enumerate(links):
        link(folders[source] / f"l{number}", folders[target])
    listing = list_folder(root)
    reachable = {0, *(number for number in range(1, 5) if number not in hidden)}
    for _ in links:
        reachable |= {target for source, target in links if source in reachable}
    listed = [int((root / name).read_text()) for name in names(listing)]
    assert sorted(listed) == sorted(reachable)
    assert listing.entries == list_folder(root).entries
    followed = len(reachable & hidden)
    used = sum(source in reachable for source, _ in links)
    assert listing.skipped["linked_again"] == used - followed


def write_snapshot(cache: Path, *names: str) -> Path:
    """A data set as huggingface_hub keeps it: names that link to blobs."""
    repository = cache / "datasets--someone--texts"
    snapshot = repository / "snapshots" / "0123abc"
    for number, name in enumerate(names):
        blob = repository / "blobs" / f"{number:040}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(b'{"text": "%d"}\n' % number)
        place = snapshot / name
        link(place, os.path.relpath(blob, place.parent))
    write_files(repository, "refs/main")
    return snapshot


def test_a_hugging_face_snapshot_is_read_whole_in_part_and_file_by_file(tmp_path):
    snapshot = write_snapshot(tmp_path, "data/a.jsonl", "data/en/b.jsonl", "README.md")

    def texts(path: Path) -> list[str]:
        corpus = open_corpus(CorpusConfig(path=str(path)))
        return [f"{item.id} {item.raw.decode()}" for item in corpus.documents()]

    assert texts(snapshot) == ["data/a.jsonl:1 0", "data/en/b.jsonl:1 1"]
    assert texts(snapshot / "data") == ["a.jsonl:1 0", "en/b.jsonl:1 1"]
    assert texts(snapshot / "data" / "en" / "b.jsonl") == ["b.jsonl:1 1"]
    link(tmp_path / "mine", snapshot)
    assert texts(tmp_path / "mine") == texts(snapshot)


def test_a_snapshot_leads_to_its_own_blobs_alone(tmp_path):
    snapshot = write_snapshot(tmp_path, "a.jsonl")
    write_files(tmp_path / "models--other" / "blobs", "weights")
    link(snapshot / "b.jsonl", tmp_path / "models--other" / "blobs" / "weights")
    link(snapshot / "c.jsonl", "../../refs/main")
    assert rejected(list_folder(snapshot)) == {"b.jsonl": "link", "c.jsonl": "link"}


def test_a_download_cache_names_its_snapshots(tmp_path):
    repository = write_snapshot(tmp_path, "a.jsonl").parents[1]
    for path in (repository, tmp_path):
        with pytest.raises(DataError, match=r"a download cache.*: snapshots/0123abc$"):
            open_corpus(CorpusConfig(path=str(path)))


@pytest.mark.parametrize("store", [".git/annex/objects/1/2", ".dvc/cache/files/md5/ab"])
def test_files_in_the_store_of_an_enclosing_work_tree_are_read(tmp_path, store):
    write_files(tmp_path, f"{store}/content", "secret")
    link(tmp_path / "part" / "a.txt", f"../{store}/content")
    link(tmp_path / "part" / "folder", f"../{store}")
    link(tmp_path / "part" / "b.txt", "../secret")
    listing = list_folder(tmp_path / "part")
    assert names(listing) == ["a.txt", "folder/content"]
    assert rejected(listing) == {"b.txt": "link"}


def test_a_work_tree_may_link_to_its_store(tmp_path):
    write_files(tmp_path, "first/.git/annex/objects/1/content")
    link(tmp_path / "second" / ".git", tmp_path / "first" / ".git")
    link(tmp_path / "second" / "a.txt", ".git/annex/objects/1/content")
    assert names(list_folder(tmp_path / "second")) == ["a.txt"]


def test_a_folder_of_lost_links_alone_says_what_they_are(tmp_path):
    link(tmp_path / "mine" / "a.txt", tmp_path / "elsewhere")
    link(tmp_path / "mine" / "b.txt", "nowhere")
    with pytest.raises(
        DataError, match=r"mine: no file that can be read; left out: 2 link \(first: a"
    ):
        open_corpus(CorpusConfig(path=str(tmp_path / "mine")))


def test_what_is_skipped_by_rule_is_counted(tmp_path):
    root = write_files(
        tmp_path, "a.py", "b/.env", ".git/x", "b/__pycache__/y.pyc", "b/c.txt", ".x.py"
    )
    assert list_folder(root, "*.py").skipped == {"hidden": 4, "unmatched": 1}
    corpus = open_corpus(CorpusConfig(path=str(root), pattern="*.py"))
    assert corpus.describe()["skipped"] == {"hidden": 4, "unmatched": 1}
    assert corpus.describe()["files"] == len(corpus.listing()) == 1
    with pytest.raises(DataError, match=r"no file matches '\*\.rs' \(.*4 hidden.*\)"):
        open_corpus(CorpusConfig(path=str(root), pattern="*.rs"))
    assert "skipped" not in open_corpus(CorpusConfig(path=str(root / "b" / "c.txt"))).describe()


PATTERNS = [
    ("**/*.py", ["a.py", "b/a.py", "b/c/a.py"], ["a.txt", "a.PY"]),
    ("b/**/*.py", ["b/a.py", "b/c/a.py"], ["a.py", "bb/a.py", "c/b/a.py"]),
    ("b/**/c/**/a.*", ["b/c/a.py", "b/x/c/y/z/a.py"], ["b/a.py", "b/xc/a.py"]),
    ("**/b/*", ["b/a.py", "x/b/a.py"], ["xb/a.py", "a.py"]),
    ("b/*", ["b/a.py", "b/c/a.py"], ["a.py", "a/b/a.py"]),
    ("a.py", ["a.py", "b/a.py"], ["b/aa.py"]),
    ("[ab].p?", ["a.py", "x/b.pz"], ["c.py"]),
    ("x**/y", ["x/y", "x1/2/y"], ["y"]),
    ("**", ["a", "b/c"], []),
]


@pytest.mark.parametrize(("pattern", "matching", "others"), PATTERNS)
def test_what_patterns_mean(pattern, matching, others):
    matches = matcher(pattern)
    assert [name for name in [*matching, *others] if matches(name)] == matching


PATHS = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=4).map("/".join)
PARTS = st.lists(st.sampled_from(["a", "b", "ab", "**"]), max_size=3)


@given(path=PATHS, folders=PARTS, last=st.sampled_from(["a", "b", "ab"]))
@settings(max_examples=60, deadline=None)
def test_two_stars_stand_for_any_folders_or_none(path, folders, last):
    # Reference: a pattern of whole names, as a list of names and gaps.
    pattern = "/".join([*folders, last])
    reference = "".join("(?:[ab]+/)*" if name == "**" else f"{name}/" for name in folders) + last
    subject = path if "/" in pattern else PurePosixPath(path).name
    assert matcher(pattern)(path) == bool(re.fullmatch(reference, subject))
