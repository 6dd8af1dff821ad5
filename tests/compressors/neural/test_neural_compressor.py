"""The neural compressor as every other part sees it: views, engines, folder, fingerprint."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxylm.compressors.contract import ANCHOR_SPACING
from proxylm.compressors.neural.coder.engines import ENGINES
from proxylm.compressors.neural.coder.lm_engines import NaiveEngine
from proxylm.compressors.neural.coder.settings import CoderSettings, MinimalTermination
from proxylm.compressors.neural.compressor import AUTOMATON_FILE, LM_FOLDER, NeuralCompressor
from proxylm.compressors.neural.segmentation.automaton import AutomatonSegmentation
from proxylm.compressors.neural.segmentation.entropy import EntropySegmentation
from proxylm.compressors.neural.segmentation.simple import FixedSegmentation, LineSegmentation
from proxylm.compressors.registry import load_compressor, save_compressor
from proxylm.errors import DamagedFileError, DataError, UsageError
from small_neural import coded, small_byte_lm, small_compressor, text

ENTROPY = EntropySegmentation(overlap=8)
DOCUMENTS = [text(900, words=300), b"", b"x", bytes(range(256)), b"\n\n", text(901), b"a" * 1100]
NAIVE_SEGMENTS = 6
"""Of each document, compared with the naive coder."""
TABLE_6 = {
    "fixed-4": (FixedSegmentation(length=4), CoderSettings(window_bits=None, pack_bits=8)),
    "fixed-16": (FixedSegmentation(length=16), CoderSettings(window_bits=None, pack_bits=8)),
    "lines": (LineSegmentation(), CoderSettings(window_bits=None, pack_bits=8)),
    "lines-16": (LineSegmentation(), CoderSettings(pack_bits=8)),
    "entropy-98-8": (EntropySegmentation(percentile=98, overlap=8), CoderSettings(pack_bits=8)),
    "entropy-98-16": (EntropySegmentation(percentile=98, overlap=8), CoderSettings()),
    "entropy-95-32": (ENTROPY, CoderSettings(window_bits=32)),
    "entropy-95": (ENTROPY, CoderSettings()),
    "minimal": (ENTROPY, CoderSettings(termination=MinimalTermination())),
    "automaton": (AutomatonSegmentation(), CoderSettings()),
}


@pytest.mark.parametrize("name", TABLE_6)
def test_every_row_of_table_6_is_a_configuration(name):
    segmentation, coder = TABLE_6[name]
    compressor = small_compressor(segmentation, coder)
    assert compressor.symbol_count == 1 << coder.pack_bits
    naive = NaiveEngine(small_byte_lm(), coder)
    views = compressor.encode(DOCUMENTS)
    for raw, view in zip(DOCUMENTS, views, strict=True):
        check_view(raw, view, compressor.symbol_count)
        segments = segments_of(raw, view.segment_lengths)[:NAIVE_SEGMENTS]
        expected = coded(naive, segments)
        np.testing.assert_array_equal(
            view.segment_symbol_counts[:NAIVE_SEGMENTS], [len(one) for one in expected]
        )
        symbols = np.concatenate([np.empty(0, np.uint32), *expected])
        np.testing.assert_array_equal(view.symbols[: len(symbols)], symbols)


def segments_of(raw: bytes, lengths: np.ndarray) -> list[bytes]:
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    return [raw[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]


def check_view(raw: bytes, view, symbol_count: int) -> None:
    assert view.symbols.dtype == np.uint32
    assert not len(view.symbols) or view.symbols.max() < symbol_count
    assert view.segment_lengths.sum() == len(raw)
    assert view.segment_symbol_counts.sum() == len(view.symbols)
    assert len(view.segment_lengths) == len(view.segment_symbol_counts)
    assert (view.segment_lengths > 0).all() and (view.segment_symbol_counts > 0).all()
    byte_ends = np.cumsum(view.segment_lengths).tolist()
    symbol_ends = np.cumsum(view.segment_symbol_counts).tolist()
    places = set(zip(byte_ends[:-1], symbol_ends[:-1], strict=True))
    anchors = view.anchors.tolist()
    assert set(map(tuple, anchors)) <= places
    # One anchor for each full spacing, where a segment's end completes it inside the document.
    completed = {symbol // ANCHOR_SPACING for _, symbol in places} - {0}
    assert {symbol // ANCHOR_SPACING for _, symbol in anchors} == completed
    assert len(anchors) == len(completed)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=6))
def test_a_document_does_not_depend_on_its_company(documents):
    compressor = small_compressor()
    together = compressor.encode([*documents, DOCUMENTS[0]])
    for raw, view in zip([*documents, DOCUMENTS[0]], together, strict=True):
        (alone,) = compressor.encode([raw])
        np.testing.assert_array_equal(view.symbols, alone.symbols)
        np.testing.assert_array_equal(view.segment_lengths, alone.segment_lengths)
        np.testing.assert_array_equal(view.anchors, alone.anchors)


def test_groups_are_put_together_in_order(monkeypatch):
    whole = small_compressor().compress(DOCUMENTS)
    monkeypatch.setattr("proxylm.compressors.neural.compressor.GROUP_BYTES", 100)
    for compressor in (small_compressor(), small_compressor().with_engine("lazy")):
        for one, other in zip(compressor.compress(DOCUMENTS), whole, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("segmentation", [ENTROPY, AutomatonSegmentation()])
def test_all_engines_write_the_same_symbols(segmentation):
    compressor = small_compressor(segmentation)
    documents = [raw[:120] for raw in DOCUMENTS]
    expected = compressor.compress(documents)
    for name in ENGINES:
        other = compressor.with_engine(name)
        assert other.fingerprint == compressor.fingerprint
        assert other.describe()["engine"] == name
        for one, two in zip(other.compress(documents), expected, strict=True):
            np.testing.assert_array_equal(one, two)


def test_engines_that_cannot_be_had_are_one_line():
    with pytest.raises(UsageError, match="no engine 'fast'; choose one of naive, batched, lazy"):
        small_compressor().with_engine("fast")
    unwindowed = small_compressor(coder=CoderSettings(window_bits=None))
    assert unwindowed.describe()["engine"] == "lazy"
    with pytest.raises(UsageError, match="not enumerated"):
        unwindowed.with_engine("automaton")


def test_it_comes_back_from_its_folder(tmp_path):
    compressor = small_compressor()
    save_compressor(compressor, tmp_path / "saved")
    loaded = load_compressor(tmp_path / "saved")
    assert isinstance(loaded, NeuralCompressor)
    assert loaded.describe() == compressor.describe()
    for one, other in zip(loaded.compress(DOCUMENTS), compressor.compress(DOCUMENTS), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(DataError, match="one-way"):
        loaded.decompress(loaded.compress(DOCUMENTS))


def test_everything_that_decides_symbols_is_in_the_fingerprint():
    settings = [ENTROPY, EntropySegmentation(overlap=9), EntropySegmentation(percentile=98)]
    coders = [CoderSettings(), CoderSettings(pack_bits=8)]
    fingerprints = {
        small_compressor(one, coder).fingerprint for one in settings for coder in coders
    }
    assert len(fingerprints) == 6


@pytest.mark.parametrize("change", ["threshold", "automaton", "weights", "no automaton"])
def test_an_altered_folder_is_refused(tmp_path, change):
    folder = tmp_path / "saved"
    save_compressor(small_compressor(), folder)
    if change == "threshold":
        path = folder / "compressor.json"
        description = json.loads(path.read_text())
        description["settings"]["segmentation"]["thresholds"]["jump"] += 1 / 1024
        path.write_text(json.dumps(description))
    elif change == "no automaton":
        (folder / AUTOMATON_FILE).unlink()
    else:
        path = folder / (
            AUTOMATON_FILE if change == "automaton" else f"{LM_FOLDER}/model.safetensors"
        )
        content = bytearray(path.read_bytes())
        content[-9] ^= 1
        path.write_bytes(content)
    with pytest.raises(DamagedFileError):
        load_compressor(folder)


def test_an_automaton_of_other_settings_is_refused():
    compressor = small_compressor()
    other = small_compressor(coder=CoderSettings(pack_bits=8))
    with pytest.raises(DamagedFileError, match="other coder settings"):
        NeuralCompressor(small_byte_lm(), compressor._settings, automaton=other.automaton)
