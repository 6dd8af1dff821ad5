"""How large parts are: by content, so that no corpus has more shards than a process can map."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxylm.corpus import record_files
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.opening import open_corpus

MIB = 1 << 20


@given(num_bytes=st.integers(0, 1 << 45))
def test_parts_are_few_and_powers_of_two(num_bytes):
    size = CorpusConfig(path="x").part_bytes_of(num_bytes)
    assert size & (size - 1) == 0
    assert 4 * MIB <= size <= 512 * MIB
    parts = -(-num_bytes // size)
    assert parts <= 4096 or size == 512 * MIB
    assert parts > 2048 or size == 4 * MIB


@pytest.mark.parametrize(
    ("num_bytes", "size"),
    [(0, 4), (1, 4), (16 << 30, 4), ((16 << 30) + 1, 8), (135 * 10**9, 32), (33 * 10**11, 512)],
)
def test_sizes_at_some_totals(num_bytes, size):
    config = CorpusConfig(path="x")
    assert config.part_bytes_of(num_bytes) == size * MIB
    assert config.model_copy(update={"part_bytes": 123}).part_bytes_of(num_bytes) == 123


def test_the_size_that_content_gives_is_that_of_the_option(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}')
    plain = open_corpus(CorpusConfig(path=str(tmp_path)))
    asked = open_corpus(CorpusConfig(path=str(tmp_path), part_bytes=4 * MIB))
    assert (plain.fingerprint, plain.parts()) == (asked.fingerprint, asked.parts())


def write_many(folder: Path, kind: str) -> Path:
    """Twelve files, of Parquet two row groups each."""
    (folder / kind).mkdir()
    for number in range(12):
        texts = [f"{number} {row} " * 9 for row in range(4)]
        path = folder / kind / f"{number:02}.{kind}"
        if kind == "parquet":
            pq.write_table(pa.table({"text": texts}), path, row_group_size=2)
        else:
            path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return folder / kind


def documents(corpus: Corpus) -> list[tuple[str, bytes]]:
    return [(document.id, document.raw) for document in corpus.documents()]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_very_many_files_share_parts(tmp_path, monkeypatch, kind):
    folder = write_many(tmp_path, kind)

    def opened(most: int) -> Corpus:
        monkeypatch.setattr(record_files, "MOST_RANGES", most)
        return open_corpus(CorpusConfig(path=str(folder), part_bytes=700))

    ranges = 24 if kind == "parquet" else 12
    apart, joined = opened(ranges), opened(ranges - 1)
    assert [len(part.ranges) for part in apart.parts()] == [1] * ranges
    assert 1 < len(joined.parts()) < ranges
    assert sum(len(part.ranges) for part in joined.parts()) == ranges
    assert documents(joined) == documents(apart)
    # Other shards: what was begun with the ones must not go on with the others.
    assert joined.fingerprint != apart.fingerprint


def test_plain_lines_are_read_once_to_open_them(tmp_path, monkeypatch):
    content = b"\n".join(b'{"text": "%d"}' % number for number in range(500))
    (tmp_path / "a.jsonl").write_bytes(content)
    read = []
    given_blocks = record_files.in_threads

    def noted(function, items):
        read.extend(items)
        return given_blocks(function, items)

    monkeypatch.setattr(record_files, "in_threads", noted)
    monkeypatch.setattr("proxylm.corpus.jsonl.record_file", None)  # the way of packed files
    corpus = open_corpus(CorpusConfig(path=str(tmp_path), part_bytes=1000))
    assert [file.name for file in read] == ["a.jsonl"]
    assert sum(part.num_bytes for part in corpus.parts()) == len(content)
