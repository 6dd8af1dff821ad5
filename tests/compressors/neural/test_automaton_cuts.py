from __future__ import annotations

import numpy as np
import pytest
from coder_cases import segments
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxylm.compressors.neural.coder.automaton_engine import AutomatonEngine
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.automaton import (
    COSTS,
    MAX_COST,
    AutomatonThresholds,
    plain_cuts,
)
from proxylm.compressors.neural.segmentation.automaton_walks import (
    AutomatonSegmenter,
    measured_costs,
)
from proxylm.errors import DataError

NO_CUTS = AutomatonThresholds(cost=MAX_COST, jump=MAX_COST)
"""No byte goes beyond: segments end with their document or at 1024 bytes."""
THRESHOLDS = [
    AutomatonThresholds(cost=88, jump=56),
    AutomatonThresholds(cost=160, jump=106),
    AutomatonThresholds(cost=MAX_COST, jump=20),
    AutomatonThresholds(cost=44, jump=MAX_COST),
    AutomatonThresholds(cost=75, jump=-6),
    AutomatonThresholds(cost=0, jump=0),
    NO_CUTS,
]
TEXT = "if aaaa:\n    return e, iou  # über aeiou\n".encode()


def cutter_name(thresholds: AutomatonThresholds) -> str:
    return f"{thresholds.cost}-{thresholds.jump}"


@pytest.fixture(scope="module")
def cutters(automaton):
    return {thresholds: AutomatonSegmenter(automaton, thresholds) for thresholds in THRESHOLDS}


@pytest.fixture(params=THRESHOLDS, ids=cutter_name)
def cutter(request, cutters):
    return cutters[request.param]


def lengths_per_document(cutter, documents):
    flat = FlatDocuments.of(documents)
    lengths = cutter.cut(flat).lengths
    ends = np.cumsum(flat.segments_per_document(lengths))
    return [one.tolist() for one in np.split(lengths, ends[:-1])]


def assert_as_defined(cutter, documents):
    expected = [plain_cuts(cutter.automaton, one, cutter.thresholds)[0] for one in documents]
    assert lengths_per_document(cutter, documents) == expected
    flat = FlatDocuments.of(documents)
    found = cutter.cut(flat)
    coded = AutomatonEngine(cutter.automaton).code(flat.raw, found.lengths)
    np.testing.assert_array_equal(found.coded.symbols, coded.symbols)
    np.testing.assert_array_equal(found.coded.symbols_per_segment, coded.symbols_per_segment)


def test_costs_are_rounded_information():
    assert COSTS[[1, 2, 1 << 8, 1 << 15, 1 << 16]].tolist() == [255, 240, 128, 16, 0]
    assert COSTS[3] == round(16 * (16 - np.log2(3)))
    assert (np.diff(COSTS[1:].astype(int)) <= 0).all()


@given(documents=st.lists(segments(200), min_size=1, max_size=9))
@hypothesis_settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_fast_walk_cuts_as_defined(cutter, documents):
    assert_as_defined(cutter, documents)


def test_long_segments_are_cut_at_1024_bytes(cutters):
    documents = [b"a" * 1024, b"a" * 1025, b"a" * 3000]
    assert_as_defined(cutters[NO_CUTS], documents)
    found = lengths_per_document(cutters[NO_CUTS], documents)
    assert found == [[1024], [1024, 1], [1024, 1024, 952]]


def test_low_thresholds_cut_more(cutters):
    counts = [len(lengths_per_document(cutters[one], [TEXT * 9])[0]) for one in THRESHOLDS[:2]]
    assert counts[0] > counts[1] > 5


def test_documents_do_not_depend_on_each_other(cutter):
    documents = [TEXT, b"", b"x", TEXT[::-1] * 5, b"", b"\x00" * 700, TEXT * 3, b"q"]
    together = lengths_per_document(cutter, documents)
    assert together == [lengths_per_document(cutter, [one])[0] for one in documents]
    assert together[1] == []
    assert lengths_per_document(cutter, documents[::-1])[::-1] == together


def test_no_documents(cutters):
    found = cutters[NO_CUTS].cut(FlatDocuments.of([]))
    assert len(found.lengths) == len(found.coded.symbols) == 0


def test_packing_in_bytes_splits_the_same_codes(automata, cutters):
    thresholds = THRESHOLDS[0]
    packed = AutomatonSegmenter(automata[CoderSettings(pack_bits=8)], thresholds)
    assert_as_defined(packed, [TEXT * 4])
    text = FlatDocuments.of([TEXT])
    wide, narrow = (one.cut(text).coded for one in (cutters[thresholds], packed))
    np.testing.assert_array_equal(narrow.symbols.astype(np.uint8).view(">u2"), wide.symbols)


@pytest.mark.parametrize("thresholds", THRESHOLDS, ids=cutter_name)
def test_measured_costs_are_those_of_the_definition(automaton, thresholds):
    documents = [TEXT * 3, b"a" * 1500, bytes(range(256))]
    expected = [plain_cuts(automaton, document, thresholds)[1] for document in documents]
    costs = measured_costs(automaton, FlatDocuments.of(documents), thresholds)
    assert costs.tolist() == [cost for one in expected for cost in one]


def test_thresholds_stand_at_the_percentile_of_their_own_walk(automaton):
    documents = FlatDocuments.of([TEXT * 20, TEXT[::-1] * 20, b""])
    thresholds = AutomatonThresholds.fit(automaton, documents, 90.0)
    costs = measured_costs(automaton, documents, thresholds)
    assert 0.04 < (costs > thresholds.cost).mean() <= 0.12
    inside = np.delete(np.diff(costs), documents.ends[0] - 1)
    assert 0.04 < (inside > thresholds.jump).mean() <= 0.12
    higher = AutomatonThresholds.fit(automaton, documents, 98.0)
    assert higher.cost > thresholds.cost
    assert higher.jump > thresholds.jump


def test_a_sample_without_bytes_gives_no_thresholds(automaton):
    with pytest.raises(DataError, match="sample for the thresholds is empty"):
        AutomatonThresholds.fit(automaton, FlatDocuments.of([b"", b""]), 95.0)
