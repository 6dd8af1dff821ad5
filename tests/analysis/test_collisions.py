"""Collisions: clusters against brute force, ratios by hand, and memory that stays bounded."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter, defaultdict

import numpy as np
import pytest

from chain_compressor import MarkovChain, chain_automaton, chain_compressor
from proxylm.analysis.collisions import (
    BOOKKEEPING_BYTES,
    Cluster,
    SegmentCollisions,
    coded_segments,
    window_clusters,
    window_collisions,
)
from proxylm.compressors.contract import CompressedView
from proxylm.compressors.neural.coder.lm_engines import NaiveEngine
from proxylm.compressors.neural.coder.settings import CoderSettings, MinimalTermination
from small_neural import coded


def view_of(segments: list[tuple[bytes, list[int]]]) -> tuple[bytes, CompressedView]:
    view = CompressedView(
        symbols=np.concatenate([np.array(symbols, np.uint32) for _, symbols in segments]),
        segment_lengths=np.array([len(string) for string, _ in segments], np.uint32),
        segment_symbol_counts=np.array([len(symbols) for _, symbols in segments], np.uint32),
    )
    return b"".join(string for string, _ in segments), view


@pytest.mark.parametrize(
    ("strings", "prefix", "mean_length", "ratio"),
    [
        ((b"radius =", b"radius ", b"radius"), 6, 7.0, 6 / 7),
        ((b"abcd", b"abce"), 3, 4.0, 0.75),
        ((b"x", b"y", b"zz"), 0, 4 / 3, 0.0),
        ((b"\xff\x00", b"\xff"), 1, 1.5, 2 / 3),
    ],
)
def test_lcp_ratio_is_the_common_prefix_over_the_mean_length(strings, prefix, mean_length, ratio):
    cluster = Cluster(symbols=(1,), strings=strings)
    assert cluster.common_prefix == prefix
    assert cluster.mean_length == pytest.approx(mean_length)
    assert cluster.lcp_ratio == pytest.approx(ratio)


CODERS = [
    CoderSettings(),
    CoderSettings(pack_bits=8),
    CoderSettings(termination={"kind": "minimal"}),
]


@pytest.mark.parametrize("coder", CODERS, ids=["determined", "packed in 8", "minimal"])
def test_windows_in_a_cluster_get_the_cluster_s_symbols_from_the_naive_coder(coder):
    engine = NaiveEngine(MarkovChain("any"), coder)
    clusters = list(window_clusters(chain_automaton(coder)))
    assert len(clusters) > 500
    for cluster in clusters[::10]:
        assert len(set(cluster.strings)) == len(cluster.strings) > 1
        for symbols in coded(engine, cluster.strings[:4]):
            assert tuple(symbols.tolist()) == cluster.symbols


def test_single_bytes_that_share_a_code_are_in_one_cluster():
    coder = CoderSettings()
    engine = NaiveEngine(MarkovChain("any"), coder)
    strings = [bytes([value]) for value in range(256)]
    by_code = defaultdict(set)
    for string, symbols in zip(strings, coded(engine, strings), strict=True):
        by_code[tuple(symbols.tolist())].add(string)
    clusters = {one.symbols: set(one.strings) for one in window_clusters(chain_automaton(coder))}
    shared = {symbols: found for symbols, found in by_code.items() if len(found) > 1}
    assert shared, "no two bytes collide: nothing is tested"
    for symbols, found in shared.items():
        assert found <= clusters[symbols]


def test_only_an_unflushed_coder_gives_clusters_without_a_common_prefix():
    determined = window_collisions(chain_automaton(CoderSettings()))
    assert determined.lcp_histogram[0] > 0
    minimal = chain_automaton(CoderSettings(termination=MinimalTermination()))
    for cluster in window_clusters(minimal):
        assert cluster.common_prefix == min(map(len, cluster.strings))


def test_the_report_of_windows_adds_up():
    automaton = chain_automaton(CoderSettings())
    clusters = list(window_clusters(automaton))
    report = window_collisions(automaton, shown=3)
    assert report.strings == len(automaton) - 1
    assert report.codes == len(set(automaton.codes[1:].tolist()))
    assert report.clusters == len(clusters) == sum(report.lcp_histogram)
    assert report.strings_in_clusters == sum(len(one.strings) for one in clusters)
    assert report.strings - report.strings_in_clusters == report.codes - report.clusters
    assert report.high_lcp_clusters == sum(one.lcp_ratio >= 0.8 for one in clusters)
    sizes = [len(one.strings) for one in report.largest]
    assert sizes == sorted(map(len, (one.strings for one in clusters)))[:-4:-1]


def test_figures_over_clusters_are_those_of_the_clusters():
    automaton = chain_automaton(CoderSettings())
    clusters = list(window_clusters(automaton))
    report = window_collisions(automaton, shown=5)
    sizes = [len(one.strings) for one in clusters]
    assert report.variants_histogram == dict(sorted(Counter(sizes).items()))
    figures = {
        "variants": sizes,
        "lcp_ratio": [one.lcp_ratio for one in clusters],
        "mean_length": [one.mean_length for one in clusters],
    }
    for name, values in figures.items():
        assert report.spreads[name].mean == pytest.approx(statistics.fmean(values))
        assert report.spreads[name].standard_deviation == pytest.approx(statistics.pstdev(values))
    by_ratio = sorted(clusters, key=lambda one: (one.lcp_ratio, -len(one.strings)))
    described = [(one.lcp_ratio, len(one.strings)) for one in by_ratio]
    assert [(one.lcp_ratio, len(one.strings)) for one in report.lowest] == described[:5]
    by_ratio.sort(key=lambda one: (-one.lcp_ratio, -len(one.strings)))
    described = [(one.lcp_ratio, len(one.strings)) for one in by_ratio]
    assert [(one.lcp_ratio, len(one.strings)) for one in report.highest] == described[:5]


def test_a_cluster_s_lengths_have_a_deviation_and_long_strings_are_cut():
    cluster = Cluster(symbols=(1,), strings=(b"ab", b"abcd\n\xff"))
    assert cluster.length_deviation == pytest.approx(2.0)
    assert cluster.as_json()["strings"] == ["b'ab'", r"b'abcd\n\xff'"]
    (shown,) = Cluster(symbols=(1,), strings=(b" " * 500,)).shown_strings(3)
    assert shown == repr(b" " * 80) + "…"


def random_segments(count: int, seed: int = 0) -> list[tuple[bytes, list[int]]]:
    generator = np.random.default_rng(seed)
    return [
        (generator.bytes(int(generator.integers(1, 4))), generator.integers(0, 40, 2).tolist())
        for _ in range(count)
    ]


def test_segments_are_grouped_by_all_their_symbols():
    segments = random_segments(3000)
    expected = defaultdict(set)
    for string, symbols in segments:
        expected[tuple(symbols)].add(string)
    collisions = SegmentCollisions()
    for start in range(0, len(segments), 70):
        collisions.add(*view_of(segments[start : start + 70]))
    found = {one.symbols: set(one.strings) for one in collisions.clusters()}
    assert found == {symbols: one for symbols, one in expected.items() if len(one) > 1}
    report = collisions.report()
    assert report.share_kept == 1.0
    assert (report.codes, report.strings) == (len(expected), sum(map(len, expected.values())))


def test_the_most_frequent_variant_comes_first():
    collisions = SegmentCollisions()
    collisions.add(*view_of([(b"rare", [5]), (b"often", [5]), (b"often", [5]), (b"else", [5, 5])]))
    (cluster,) = collisions.clusters()
    assert cluster.strings == (b"often", b"rare")


def test_beyond_its_memory_whole_clusters_are_sampled():
    segments = random_segments(6000)
    whole, limited = SegmentCollisions(), SegmentCollisions(kept_bytes=400 * BOOKKEEPING_BYTES)
    for start in range(0, len(segments), 100):
        for collisions in (whole, limited):
            collisions.add(*view_of(segments[start : start + 100]))
    everything = {one.symbols: set(one.strings) for one in whole.clusters()}
    kept = {one.symbols: set(one.strings) for one in limited.clusters()}
    report = limited.report()
    assert 0 < report.share_kept < 1
    assert report.strings < 400
    assert kept
    assert all(everything[symbols] == strings for symbols, strings in kept.items())
    # The share is what the sample says it is, within its own spread.
    expected = report.share_kept * whole.report().codes
    assert report.codes == pytest.approx(expected, abs=4 * expected**0.5)


def test_the_segments_of_a_real_view():
    compressor = chain_compressor()
    document = b"def area(radius):\n    return radius\n" * 5
    (view,) = compressor.encode([document])
    segments = list(coded_segments(document, view))
    assert b"".join(string for _, string in segments) == document
    assert b"".join(symbols for symbols, _ in segments) == view.symbols.tobytes()
    for (symbols, string), again in itertools.islice(
        zip(segments, coded(compressor._engine, [s for _, s in segments]), strict=True), 20
    ):
        assert symbols == again.tobytes(), string


def test_an_empty_report_has_no_share():
    report = SegmentCollisions().report()
    assert report.high_lcp_share is None
    assert report.as_json()["clusters"] == 0
    assert (report.variants_histogram, report.spreads, report.lowest) == ({}, {}, ())
