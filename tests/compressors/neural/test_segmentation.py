"""Rules that cut: fixed lengths, lines, entropy, the automaton's own; limits and edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxylm.compressors.neural.coder.settings import MAX_SEGMENT_BYTES, CoderSettings
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.automaton import AutomatonSegmentation, plain_cuts
from proxylm.compressors.neural.segmentation.contract import Fitting
from proxylm.compressors.neural.segmentation.entropy import EntropySegmentation
from proxylm.compressors.neural.segmentation.simple import FixedSegmentation, LineSegmentation
from proxylm.errors import UsageError
from small_neural import small_automaton, small_byte_lm, small_compressor, text

DOCUMENTS = [b"", b"a", b"\n", b"one\ntwo\n\nlast", b"no line end" * 200, text(3)]


def cut(rule, documents: list[bytes]) -> list[list[int]]:
    flat = FlatDocuments.of(documents)
    lengths = rule.segmenter(small_byte_lm(), None).cut(flat).lengths
    assert lengths.dtype == np.uint32
    ends = np.cumsum(flat.segments_per_document(lengths))
    return [piece.tolist() for piece in np.split(lengths, ends[:-1])]


def split_at_limit(lengths: list[int]) -> list[int]:
    pieces = []
    for length in lengths:
        full, rest = divmod(length, MAX_SEGMENT_BYTES)
        pieces += [MAX_SEGMENT_BYTES] * full + [rest] * (rest > 0)
    return pieces


def test_lines_end_with_their_line_end():
    expected = [[len(line) for line in raw.splitlines(keepends=True)] for raw in DOCUMENTS]
    assert cut(LineSegmentation(), DOCUMENTS) == [split_at_limit(one) for one in expected]


@pytest.mark.parametrize("length", [1, 4, 8, 16, 1024])
def test_fixed_lengths_count_from_each_document(length):
    expected = [
        [min(length, len(raw) - start) for start in range(0, len(raw), length)] for raw in DOCUMENTS
    ]
    assert cut(FixedSegmentation(length=length), DOCUMENTS) == expected


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=5),
    st.lists(st.integers(0, 9999), max_size=9),
)
def test_no_segment_is_longer_than_the_limit_or_crosses_a_document(sizes, marks):
    flat = FlatDocuments.of([bytes(size) for size in sizes])
    is_start = np.zeros(sum(sizes), bool)
    is_start[[mark for mark in marks if mark < sum(sizes)]] = True
    expected = []
    for start, size in zip(flat.starts.tolist(), sizes, strict=True):
        inner = np.flatnonzero(is_start[start + 1 : start + size]) + 1
        edges = [0, *inner.tolist(), size]
        expected.append(split_at_limit(np.diff(edges).tolist()))
    lengths = flat.segment_lengths(is_start.copy())
    counts = flat.segments_per_document(lengths)
    assert counts.tolist() == [len(one) for one in expected]
    assert lengths.tolist() == [length for one in expected for length in one]


def test_a_higher_percentile_cuts_less():
    counts = []
    for percentile in (80, 95, 98):
        compressor = small_compressor(EntropySegmentation(percentile=percentile, overlap=8))
        counts.append(sum(map(len, compressor.cut([text(seed) for seed in range(50, 55)]))))
    assert counts == sorted(counts, reverse=True) and len(set(counts)) == 3


def test_the_automaton_rule_is_its_plain_form():
    automaton = small_automaton(CoderSettings())
    compressor = small_compressor(AutomatonSegmentation(percentile=90))
    thresholds = compressor.segmentation.thresholds
    assert compressor.cut([]) == []
    for raw, lengths in zip(DOCUMENTS, compressor.cut(DOCUMENTS), strict=True):
        assert lengths.tolist() == plain_cuts(automaton, raw, thresholds)[0]


def test_rules_without_what_they_need_say_so():
    lm = small_byte_lm()
    with pytest.raises(UsageError, match="thresholds are not fitted"):
        EntropySegmentation().segmenter(lm, None)
    with pytest.raises(UsageError, match="thresholds are not fitted"):
        AutomatonSegmentation().segmenter(lm, None)
    with pytest.raises(UsageError, match="windows are not enumerated"):
        on = Fitting(sample=FlatDocuments.of(DOCUMENTS), lm=lm, automaton=None)
        AutomatonSegmentation().fitted(on)


def test_documents_whose_lengths_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="add up to 3"):
        FlatDocuments(raw=np.zeros(3, np.uint8), lengths=np.array([2]))
