"""Stability: slices and deletions by their definition, distances against the plain recurrence."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from compressors.compressor_cases import LINES, ODD_DOCUMENTS
from proxylm.analysis import stability
from proxylm.analysis.stability import (
    StabilityReport,
    StabilitySettings,
    corpus_slices,
    document_slices,
    measure_stability,
    without_characters,
)
from proxylm.compressors.contract import CannotCompress, CompressedView, Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.compressors.tokenizer.training import train_tokenizer
from proxylm.corpus.left_out import LeftOut
from proxylm.corpus.opening import as_corpus
from proxylm.errors import DataError, UsageError

TEXT = "".join(LINES).encode()
CHARACTER = re.compile(
    rb"[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}"
    rb"|\xf4[\x80-\x8f][\x80-\xbf]{2}|[\x80-\xff]",
    re.DOTALL,
)
"""Well-formed UTF-8 as Unicode's table lists it, or a byte that is none."""


def is_subsequence(short: Sequence[bytes], long: Sequence[bytes]) -> bool:
    rest = iter(long)
    return all(one in rest for one in short)


def plain_distance(one: Sequence[int], other: Sequence[int]) -> float:
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            before, row[j] = row[j], min(before + (left != right), row[j] + 1, row[j - 1] + 1)
    return row[-1] / max(len(one), len(other), 1)


class Recorded(Compressor):
    """Bytes as they are, and a record of what was compressed; has no form for some texts."""

    kind, reversible, symbol_count, settings = "recorded", True, 256, {}

    def __init__(self, refused: bytes | None = None) -> None:
        self.calls: list[list[bytes]] = []
        self.refused = refused

    def encode(self, documents):
        self.calls.append(list(documents))
        return [
            CannotCompress(reason="refused")
            if self.refused is not None and self.refused in raw
            else CompressedView(symbols=np.frombuffer(raw, np.uint8))
            for raw in documents
        ]


def measured(slices: list[bytes], *compressors: Compressor, **values: object):
    settings = StabilitySettings.model_validate(values)
    return measure_stability([(one.kind, one) for one in compressors], slices, settings)


@pytest.mark.parametrize("raw", [one for one in ODD_DOCUMENTS if one])
@pytest.mark.parametrize("slice_bytes", [16, 30])
def test_slices_are_the_document_and_break_no_character(raw, slice_bytes):
    slices = document_slices(raw, slice_bytes)
    assert b"".join(slices) == raw
    assert min(map(len, slices)) > 0 and max(map(len, slices)) <= slice_bytes
    assert max(map(len, slices)) - min(map(len, slices)) <= 7
    whole = CHARACTER.findall(raw)
    assert [one for piece in slices for one in CHARACTER.findall(piece)] == whole


@pytest.mark.parametrize("raw", [one for one in ODD_DOCUMENTS if one])
def test_a_tenth_of_the_characters_is_deleted_and_at_least_one(raw):
    characters = CHARACTER.findall(raw)
    left = without_characters(raw, 0.1, np.random.default_rng(3))
    deleted = max(1, round(0.1 * len(characters)))
    # Of odd bytes that come together, two may read as one character; bytes are told apart anyway.
    assert len(raw) - 4 * deleted <= len(left) <= len(raw) - deleted
    if raw.isascii() or b"\xff" not in raw:
        assert len(CHARACTER.findall(left)) == len(characters) - deleted
    assert is_subsequence([bytes([one]) for one in left], [bytes([one]) for one in raw])


def test_a_byte_that_is_not_utf8_is_a_character():
    left = without_characters(b"\xff\xe2\x82\xff\xed\xa0\x80\x80", 0.5, np.random.default_rng(0))
    assert len(left) == 4
    assert len(without_characters("ä漢😀é".encode(), 0.5, np.random.default_rng(0)).decode()) == 2


def test_every_place_is_deleted_as_often():
    counts = np.zeros(20)
    for number in range(2000):
        left = without_characters(bytes(range(20)), 0.1, np.random.default_rng([0, number]))
        assert len(left) == 18
        counts[sorted(set(range(20)) - set(left))] += 1
    assert counts.sum() == 4000
    assert abs(counts - 200).max() < 5 * (200 * 0.9) ** 0.5


@pytest.mark.parametrize("name", ["gzip", "units:bits=4"])
def test_distances_are_those_of_the_plain_recurrence(name):
    recorded, compressor = Recorded(), load_compressor(name)
    slices = document_slices(TEXT, 60)
    _, report = measured(slices, recorded, compressor, samples=12, slice_bytes=60)
    whole, damaged = recorded.calls
    samples = [(whole[number * len(slices) // 12], one) for number, one in enumerate(damaged)]
    assert whole == slices and len(damaged) == 12 == len(set(damaged))
    expected = [plain_distance(*map(np.ndarray.tolist, compressor.compress(s))) for s in samples]
    assert report.distances.tolist() == pytest.approx(expected, abs=1e-12)
    assert report.mean == pytest.approx(np.mean(expected))
    assert report.standard_deviation == pytest.approx(np.std(expected))
    assert sum(report.histogram) == 12


def test_neither_groups_nor_threads_nor_other_compressors_move_a_distance(monkeypatch):
    slices = document_slices(TEXT, 100)
    gzip, units = load_compressor("gzip"), load_compressor("units:bits=16")
    values = {"samples": 50, "slice_bytes": 100}
    _, alone = measured(slices, units, gzip, **values)
    monkeypatch.setattr(stability, "CHUNK_BYTES", 700)
    monkeypatch.setattr(stability, "usable_cores", lambda: 3)
    (again,) = measured(slices, gzip, **values)
    assert again.distances.tolist() == alone.distances.tolist()
    (other,) = measured(slices, gzip, **values, seed=1)
    assert other.distances.tolist() != alone.distances.tolist()


def test_samples_that_cannot_be_said_are_counted_apart():
    slices = [b"abcdefghij" * 3, b"0123456789" * 3]
    (report,) = measured(slices, Recorded(refused=b"01234"), samples=10)
    assert (report.rejected, len(report.distances)) == (5, 5)
    assert report.distances.tolist() == pytest.approx([0.1] * 5)
    (nothing,) = measured(slices[1:], Recorded(refused=b""), samples=3)
    assert nothing.as_json()["mean"] is None
    assert set(nothing.as_json()["quantiles"].values()) == {None}


def test_a_tokenizer_is_more_stable_than_gzip():
    documents = [(line * 20).encode() for line in LINES]
    tokenizer = train_tokenizer(documents, vocabulary_size=400, held_out_fraction=0.0)
    slices = [piece for raw in documents for piece in document_slices(raw, 500)]
    ours, gzip = measured(slices, tokenizer, load_compressor("gzip"), samples=60)
    assert ours.mean < 0.8 * gzip.mean


def test_the_slices_of_a_corpus(monkeypatch):
    documents = [bytes([65 + number]) * 40 for number in range(26)]
    whole = corpus_slices(as_corpus(documents), 24, held_out=1.0, left_out=LeftOut())
    assert b"".join(whole) == b"".join(documents)
    monkeypatch.setattr(stability, "KEPT_BYTES", 400)
    chosen = corpus_slices(as_corpus(documents), 24, held_out=1.0, left_out=LeftOut())
    assert set(chosen) < set(whole) and 4 <= len(chosen) <= 40
    monkeypatch.setattr(stability, "KEPT_BYTES", 0)
    with pytest.raises(DataError, match="no document was chosen"):
        corpus_slices(as_corpus(documents), 24, held_out=1.0, left_out=LeftOut())


def test_progress_is_told_up_to_the_last_sample():
    told: list[tuple[int, int | None]] = []
    settings = StabilitySettings(samples=2500, slice_bytes=1024)
    measure_stability(
        [("bytes", Recorded())], [b"abc"], settings, lambda _, *counts: told.append(counts)
    )
    assert told == [(0, 2500), (1024, 2500), (2048, 2500), (2500, 2500)]


def test_without_rapidfuzz_nothing_is_compressed(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidfuzz.process", None)
    recorded = Recorded()
    with pytest.raises(UsageError, match=r"pip install 'proxylm\[analysis\]'"):
        measured([b"abc"], recorded, samples=1)
    assert recorded.calls == []


def test_quantiles_are_those_of_the_distances():
    values = np.linspace(0, 1, 101)
    report = StabilityReport(name="x", fingerprint="f", distances=values, rejected=0)
    assert report.quantiles == pytest.approx({q: q for q in report.quantiles})
    assert report.histogram == [2] * 49 + [3]
