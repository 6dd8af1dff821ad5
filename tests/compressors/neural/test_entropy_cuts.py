"""The boundary pass: every byte scored once, and cuts that are those of float64 in any batching."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation import entropy
from proxylm.compressors.neural.segmentation.boundary_pass import (
    BoundaryPass,
    PackedWindows,
    ScoringWindows,
)
from proxylm.compressors.neural.segmentation.entropy import (
    EXACT_TIE_BITS,
    TIE_BITS,
    EntropySegmenter,
    EntropyThresholds,
)
from proxylm.errors import DataError, UsageError
from small_neural import CONTEXT, small_byte_lm, text

OVERLAP = 8
LENGTHS = [0, 1, 2, CONTEXT - 1, CONTEXT, CONTEXT + 1, 3 * CONTEXT, 0, 1000, 5]


def documents() -> FlatDocuments:
    whole = text(7, words=400)
    return FlatDocuments.of([whole[number : number + n] for number, n in enumerate(LENGTHS)])


def exact_scores(flat: FlatDocuments) -> np.ndarray:
    """The definition in plain Python: windows of the context, each read alone in float64."""
    lm, scores = small_byte_lm(), []
    for start, end in zip(flat.starts, flat.ends, strict=True):
        raw = flat.raw[start:end].tobytes()
        first, scored = 0, 0
        while scored < len(raw):
            bits = lm.canonical_bits(raw[first : first + CONTEXT])
            scores += bits[scored - first :].tolist()
            scored = min(len(raw), first + CONTEXT)
            first += CONTEXT - OVERLAP
    return np.array(scores)


def exact_starts(flat: FlatDocuments, thresholds: EntropyThresholds) -> np.ndarray:
    scores = exact_scores(flat)
    starts = np.zeros(len(scores), bool)
    for first, end in zip(flat.starts, flat.ends, strict=True):
        for byte in range(first + 1, end):
            jump = scores[byte] - scores[byte - 1]
            starts[byte] = scores[byte] > thresholds.cross_entropy or jump > thresholds.jump
    return starts


def boundary_pass(**options) -> BoundaryPass:
    return BoundaryPass(small_byte_lm(), overlap=OVERLAP, **options)


def test_every_byte_is_scored_by_one_window():
    flat = documents()
    windows = ScoringWindows.over(flat, CONTEXT, OVERLAP)
    assert (windows.ends - windows.starts).max() == CONTEXT
    owners = [windows.scoring(byte) for byte in range(len(flat.raw))]
    scored = np.zeros(len(flat.raw), int)
    for chosen in windows.batches(3 * CONTEXT):
        packed = PackedWindows.of(flat.raw, windows, chosen)
        assert len(packed.ids) <= 3 * CONTEXT
        np.add.at(scored, packed.predicted[packed.is_scored], 1)
    assert (scored == 1).all()
    starts = flat.starts[np.searchsorted(flat.ends, np.arange(len(flat.raw)), side="right")]
    for byte, owner in enumerate(owners):
        # A window never leaves its document, and reads at least the overlap before it scores.
        assert starts[byte] <= windows.starts[owner] <= byte < windows.ends[owner]
        assert windows.starts[owner] in (starts[byte], windows.first_scored[owner] - OVERLAP)


def test_scores_are_those_of_windows_read_alone():
    flat = documents()
    distance = np.abs(boundary_pass().scores(flat) - exact_scores(flat))
    # What float32 may be off by must stay well inside the band that float64 decides.
    assert distance.max() < TIE_BITS / 8


def test_padding_for_a_gpu_changes_nothing():
    flat = documents()
    windows = ScoringWindows.over(flat, CONTEXT, OVERLAP)
    chosen = next(iter(windows.batches(2 * CONTEXT)))
    packed = PackedWindows.of(flat.raw, windows, chosen)
    padded = PackedWindows.of(flat.raw, windows, chosen, 5 * CONTEXT)
    assert len(padded.ids) == len(padded.position_ids) == 5 * CONTEXT
    assert (np.diff(padded.segment_ids) >= 0).all()
    assert not padded.is_scored[len(packed.ids) :].any()
    short, long = (boundary_pass()._forward(one, flat.raw) for one in (packed, padded))
    np.testing.assert_allclose(long[: len(short)], short, atol=1e-4)


@pytest.mark.parametrize("percentile", [50, 95])
def test_cuts_are_those_of_float64_in_any_batching(percentile):
    flat = documents()
    thresholds = EntropyThresholds.fit(boundary_pass().scores(flat), flat, percentile)
    expected = exact_starts(flat, thresholds)
    assert 10 < expected.sum() < len(expected) - 10
    threads = torch.get_num_threads()
    try:
        for positions, count in ((CONTEXT, 1), (200, 2), (1 << 14, 1)):
            torch.set_num_threads(count)
            rule = EntropySegmenter(boundary_pass(positions_per_forward=positions), thresholds)
            np.testing.assert_array_equal(rule.starts(flat), expected)
    finally:
        torch.set_num_threads(threads)


def test_ties_are_decided_by_float64_alone(monkeypatch):
    """Thresholds that scores meet to the last bit: strict, and the float32 noise plays no part."""
    flat = documents()
    exact = exact_scores(flat)
    inside = np.arange(len(exact)) - flat.starts[-2]
    candidates = np.flatnonzero((inside > 100) & (inside < 900))
    byte = int(candidates[np.argmax(exact[candidates])])
    # The last bit depends on how many bytes are read at once: what decides reads up to the byte.
    windows = ScoringWindows.over(flat, CONTEXT, OVERLAP)
    read = flat.raw[windows.starts[windows.scoring(byte)] : byte + 1].tobytes()
    decisive = float(small_byte_lm().canonical_bits(read)[-1])
    assert abs(decisive - exact[byte]) < EXACT_TIE_BITS
    for shift, is_start in ((0.0, False), (-1e-12, True), (1e-12, False)):
        thresholds = EntropyThresholds(cross_entropy=decisive + shift, jump=1e9)
        starts = EntropySegmenter(boundary_pass(), thresholds).starts(flat)
        assert starts[byte] == is_start
    # With a band as wide as everything, float64 decides every byte: the same cuts.
    thresholds = EntropyThresholds(cross_entropy=4.0, jump=1.0)
    narrow = EntropySegmenter(boundary_pass(), thresholds).starts(flat)
    monkeypatch.setattr(entropy, "TIE_BITS", 100.0)
    wide = EntropySegmenter(boundary_pass(), thresholds).starts(flat)
    np.testing.assert_array_equal(narrow, wide)


def test_a_document_is_cut_alike_in_any_company():
    flat = documents()
    thresholds = EntropyThresholds(cross_entropy=5.0, jump=2.0)
    rule = EntropySegmenter(boundary_pass(), thresholds)
    together = rule.starts(flat)
    for start, end in zip(flat.starts, flat.ends, strict=True):
        alone = rule.starts(FlatDocuments.of([flat.raw[start:end].tobytes()]))
        np.testing.assert_array_equal(alone, together[start:end])


def test_thresholds_are_percentiles_without_jumps_at_document_starts():
    scores = np.array([9, 1, 2, 8, 1, 1, 5], np.float32)
    flat = FlatDocuments.of([b"abc", b"", b"defg"])
    found = EntropyThresholds.fit(scores, flat, 50)
    assert found.cross_entropy == 2.0
    assert found.jump == np.median([-8, 1, -7, 0, 4])


def test_an_overlap_beyond_the_context_is_refused():
    with pytest.raises(UsageError, match="overlap 64: must be from 0 to below the context 64"):
        ScoringWindows.over(documents(), CONTEXT, CONTEXT)


@pytest.mark.parametrize("sample", [[], [b""], [b"a", b"", b"b"]])
def test_a_sample_without_jumps_gives_no_thresholds(sample):
    flat = FlatDocuments.of(sample)
    with pytest.raises(DataError, match="has no document of two bytes"):
        EntropyThresholds.fit(boundary_pass().scores(flat), flat, 95)
