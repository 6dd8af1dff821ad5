"""Packed files: one reader for corpora and benchmarks; sound ones are read, others named."""

from __future__ import annotations

import json
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from packed import PACK, zstd_frame

from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.opening import open_corpus
from proxylm.corpus.unpacking import Packing, packing_of, unpacked
from proxylm.errors import DamagedFileError, DataError
from proxylm.evaluation.benchmarks.records import read_records

RECORDS = [{"text": f"document {number}"} for number in range(3)]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
PADDING = b"\0" * 512
SKIPPED_FRAME = b"\x5e\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"seek"


def corpus_reads(path: Path) -> list[str]:
    return [item.raw.decode() for item in open_corpus(CorpusConfig(path=str(path))).documents()]


def evaluation_reads(path: Path) -> list[str]:
    return [record.text("text") for record in read_records(path)]


READERS = pytest.mark.parametrize("read", [corpus_reads, evaluation_reads])


def members(pack: Callable[[bytes], bytes], *texts: bytes) -> bytes:
    return b"".join(map(pack, texts))


SOUND = {
    **{f"a.jsonl{ending}": pack(LINES) for ending, pack in PACK.items()},
    **{f"padded.jsonl{ending}": pack(LINES) + PADDING for ending, pack in PACK.items()},
    **{
        f"members.jsonl{ending}": members(pack, b"", LINES[:20]) + PADDING + pack(LINES[20:])
        for ending, pack in PACK.items()
    },
    **{f"marked.jsonl{ending}": pack(b"\xef\xbb\xbf" + LINES) for ending, pack in PACK.items()},
    "marked.jsonl": b"\xef\xbb\xbf" + LINES,
    "A.JSONL.GZ": PACK[".gz"](LINES),
    "named-as-if-plain.jsonl": PACK[".xz"](LINES),
    "named-as-another.jsonl.gz": PACK[".zst"](LINES),
    "unpacked-on-the-way.jsonl.gz": LINES,
    "27.jsonl.zst": zstd_frame(LINES, 27),
    "28.jsonl.zst": zstd_frame(LINES, 28),
    "31.jsonl.zst": zstd_frame(LINES, 31),
    "seekable.jsonl.zst": SKIPPED_FRAME + PACK[".zst"](LINES) + SKIPPED_FRAME,
}


@READERS
@pytest.mark.parametrize("name", SOUND)
def test_sound_files_are_read_by_all(tmp_path, name, read):
    (tmp_path / name).write_bytes(SOUND[name])
    assert read(tmp_path / name) == [record["text"] for record in RECORDS]


DICTIONARY = zstandard.train_dictionary(512, [b"words %d and others" % n for n in range(500)])
BEYOND = {
    "32.jsonl.zst": (zstd_frame(LINES, 32), "its zstd window is over 2 GiB; unpack it first"),
    "dictionary.jsonl.zst": (
        zstandard.ZstdCompressor(dict_data=DICTIONARY).compress(LINES),
        "it was packed with a dictionary that is not in it; unpack it first",
    ),
}


@READERS
@pytest.mark.parametrize("name", BEYOND)
def test_a_limit_of_the_library_is_no_damage(tmp_path, name, read):
    content, message = BEYOND[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: {message}") as caught:
        read(tmp_path / name)
    assert not isinstance(caught.value, DamagedFileError)


@READERS
@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("damage", ["cut", "flipped", "followed by text", "another file"])
def test_damaged_files_are_named_by_all(tmp_path, ending, damage, read):
    content = PACK[ending](LINES)
    middle = len(content) // 2
    damaged = {
        "cut": content[:-1],
        "flipped": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
        "followed by text": content + b"and more",
        "another file": b"hello\n",
    }[damage]
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(damaged)
    with pytest.raises(DamagedFileError, match=rf"a\.jsonl\{ending}: (damaged|ends in the middle)"):
        read(path)


@given(
    ending=st.sampled_from(list(PACK)),
    texts=st.lists(st.binary(max_size=60), min_size=1, max_size=4),
    padding=st.integers(0, 9),
    block=st.integers(1, 50),
    cut=st.integers(1, 400),
)
@settings(max_examples=100, deadline=None)
def test_a_stream_gives_its_text_whole_or_an_error(ending, texts, padding, block, cut):
    stream = b"".join(PACK[ending](text) + b"\0" * padding for text in texts)

    def text_of(data: bytes) -> bytes:
        blocks = (data[start : start + block] for start in range(0, len(data), block))
        packing = packing_of(data, f"a{ending}")
        assert packing is not None
        return b"".join(unpacked(blocks, packing, "it"))

    assert text_of(stream) == b"".join(texts)
    last = len(PACK[ending](texts[-1])) + padding
    if padding < cut < last:  # inside of the last member
        with pytest.raises(DamagedFileError):
            text_of(stream[:-cut])


def test_first_bytes_tell_the_packing_and_names_where_they_say_nothing():
    assert [packing_of(PACK[ending](b"text"), "a") for ending in PACK] == list(Packing)
    assert packing_of(b"BZhang and other text", "a.txt") is None
    assert packing_of(b"", "A.ZSTD") is Packing.ZSTD
    assert packing_of(b' [{"a": 1}]', "a.json.gz") is None


def test_xz_without_its_check_is_read_and_one_of_another_kind_is_not(tmp_path):
    (tmp_path / "a.jsonl.xz").write_bytes(lzma.compress(LINES, check=lzma.CHECK_NONE))
    assert len(corpus_reads(tmp_path / "a.jsonl.xz")) == 3
    (tmp_path / "a.jsonl.lzma").write_bytes(lzma.compress(LINES, lzma.FORMAT_ALONE))
    with pytest.raises(DataError, match=r"a\.jsonl\.lzma: is compressed or an archive"):
        corpus_reads(tmp_path / "a.jsonl.lzma")


def test_what_a_pipe_gives_is_read_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for content in (LINES, PACK[".gz"](LINES * 1000)):
        writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content])
        writer.start()
        assert evaluation_reads(tmp_path / "pipe")[:3] == [record["text"] for record in RECORDS]
        writer.join()
