from __future__ import annotations

import numpy as np
import pytest
from coder_cases import segments
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxylm.compressors.neural.coder.automaton_engine import AutomatonEngine
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.segmentation.automaton_cuts import (
    COSTS,
    MAX_COST,
    NO_CUTS,
    AutomatonCutter,
    CutThresholds,
    automaton_cuts,
    fit_thresholds,
    measured_costs,
    plain_cuts,
)
from proxylm.errors import DataError

THRESHOLDS = [
    CutThresholds(cost=88, jump=56),
    CutThresholds(cost=160, jump=106),
    CutThresholds(cost=MAX_COST, jump=20),
    CutThresholds(cost=44, jump=MAX_COST),
    CutThresholds(cost=75, jump=-6),
    CutThresholds(cost=0, jump=0),
    NO_CUTS,
]
TEXT = "if aaaa:\n    return e, iou  # über aeiou\n".encode()


def cutter_name(thresholds: CutThresholds) -> str:
    return f"{thresholds.cost}-{thresholds.jump}"


@pytest.fixture(scope="module")
def cutters(automaton):
    return {thresholds: AutomatonCutter(automaton, thresholds) for thresholds in THRESHOLDS}


@pytest.fixture(params=THRESHOLDS, ids=cutter_name)
def cutter(request, cutters):
    return cutters[request.param]


def cut(cutter, documents):
    raw = np.frombuffer(b"".join(documents), np.uint8)
    return cutter.cut(raw, np.array([len(document) for document in documents], np.uint32))


def lengths_per_document(found):
    ends = np.cumsum(found.segments_per_document, dtype=np.int64)
    return [one.tolist() for one in np.split(found.segment_lengths, ends[:-1])]


def assert_as_defined(cutter, documents):
    found = cut(cutter, documents)
    expected = [plain_cuts(cutter.automaton, one, cutter.thresholds)[0] for one in documents]
    assert lengths_per_document(found) == expected
    raw = np.frombuffer(b"".join(documents), np.uint8)
    coded = AutomatonEngine(cutter.automaton).code_flat(raw, found.segment_lengths)
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
    found = cut(cutters[NO_CUTS], documents)
    assert lengths_per_document(found) == [[1024], [1024, 1], [1024, 1024, 952]]


def test_low_thresholds_cut_more(cutters):
    counts = [len(cut(cutters[one], [TEXT * 9]).segment_lengths) for one in THRESHOLDS[:2]]
    assert counts[0] > counts[1] > 5


def test_documents_do_not_depend_on_each_other(cutter):
    documents = [TEXT, b"", b"x", TEXT[::-1] * 5, b"", b"\x00" * 700, TEXT * 3, b"q"]
    together = lengths_per_document(cut(cutter, documents))
    assert together == [lengths_per_document(cut(cutter, [one]))[0] for one in documents]
    assert together[1] == []
    assert lengths_per_document(cut(cutter, documents[::-1]))[::-1] == together
    listed = automaton_cuts(cutter.automaton, documents, cutter.thresholds)
    assert [one.tolist() for one in listed] == together


def test_no_documents(cutters):
    found = cut(cutters[NO_CUTS], [])
    assert len(found.segment_lengths) == len(found.coded.symbols) == 0
    assert automaton_cuts(cutters[NO_CUTS].automaton, [], NO_CUTS) == []
    with pytest.raises(ValueError, match="add up to 3"):
        cutters[NO_CUTS].cut(np.zeros(3, np.uint8), np.array([2], np.uint32))


def test_packing_in_bytes_splits_the_same_codes(automata, cutters):
    thresholds = THRESHOLDS[0]
    packed = AutomatonCutter(automata[CoderSettings(pack_bits=8)], thresholds)
    assert_as_defined(packed, [TEXT * 4])
    wide, narrow = cut(cutters[thresholds], [TEXT]).coded, cut(packed, [TEXT]).coded
    np.testing.assert_array_equal(narrow.symbols.astype(np.uint8).view(">u2"), wide.symbols)


@pytest.mark.parametrize("thresholds", THRESHOLDS, ids=cutter_name)
def test_measured_costs_are_those_of_the_definition(automaton, thresholds):
    documents = [TEXT * 3, b"a" * 1500, bytes(range(256))]
    raw = np.frombuffer(b"".join(documents), np.uint8)
    ends = np.cumsum([len(document) for document in documents])
    expected = [plain_cuts(automaton, document, thresholds)[1] for document in documents]
    costs = measured_costs(automaton, raw, ends, thresholds)
    assert costs.tolist() == [cost for one in expected for cost in one]


def test_thresholds_stand_at_the_percentile_of_their_own_walk(automaton):
    documents = [TEXT * 20, TEXT[::-1] * 20, b""]
    thresholds = fit_thresholds(automaton, documents, 90.0)
    raw = np.frombuffer(b"".join(documents), np.uint8)
    ends = np.array([len(documents[0]), len(raw)])
    costs = measured_costs(automaton, raw, ends, thresholds)
    assert 0.04 < (costs > thresholds.cost).mean() <= 0.12
    inside = np.delete(np.diff(costs), len(documents[0]) - 1)
    assert 0.04 < (inside > thresholds.jump).mean() <= 0.12
    higher = fit_thresholds(automaton, documents, 98.0)
    assert higher.cost > thresholds.cost
    assert higher.jump > thresholds.jump


def test_a_sample_without_bytes_gives_no_thresholds(automaton):
    with pytest.raises(DataError, match="sample for the thresholds is empty"):
        fit_thresholds(automaton, [b"", b""], 95.0)
