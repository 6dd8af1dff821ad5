"""Gzip and units: golden outputs, round trips, and settings that are refused."""

from __future__ import annotations

import gzip
import zlib

import numpy as np
import pytest
from compressor_cases import ODD_DOCUMENTS, check_views
from hypothesis import given
from hypothesis import strategies as st

from proxylm.compressors.gzip import GzipCompressor
from proxylm.compressors.registry import load_compressor
from proxylm.compressors.units import UnitsCompressor
from proxylm.errors import DataError, UsageError

ALL_BITS = (16, 8, 4, 2, 1)
GOLDEN_UNITS = {
    16: [0x6100, 65536 + 0xFF],
    8: [0x61, 0x00, 0xFF],
    4: [6, 1, 0, 0, 15, 15],
    2: [1, 2, 0, 1, 0, 0, 0, 0, 3, 3, 3, 3],
    1: [0, 1, 1, 0, 0, 0, 0, 1, *[0] * 8, *[1] * 8],
}


def units(bits: int) -> UnitsCompressor:
    return UnitsCompressor.from_settings({"bits": bits})


@pytest.mark.parametrize("bits", ALL_BITS)
def test_units_are_read_high_bit_first(bits):
    (symbols,) = units(bits).compress([b"a\x00\xff"])
    assert symbols.tolist() == GOLDEN_UNITS[bits]


@pytest.mark.parametrize(("bits", "count"), [(16, 65792), (8, 256), (4, 16), (2, 4), (1, 2)])
def test_the_number_of_symbols(bits, count):
    assert units(bits).symbol_count == count


@pytest.mark.parametrize("bits", ALL_BITS)
def test_units_of_odd_documents_come_back(bits):
    check_views(units(bits), ODD_DOCUMENTS)


@given(raw=st.binary(max_size=400), bits=st.sampled_from(ALL_BITS))
def test_units_of_any_bytes_come_back(raw, bits):
    check_views(units(bits), [raw])


def test_a_trailing_nul_is_no_padding():
    documents = [b"a", b"a\x00", b"a\x00\x00", b"\x00", b"\x00\x00"]
    sequences = units(16).compress(documents)
    assert len({tuple(one.tolist()) for one in sequences}) == len(documents)


@pytest.mark.parametrize("bits", ALL_BITS)
def test_anchors_stand_at_every_64th_symbol(bits):
    (view,) = units(bits).encode([bytes(1000)])
    assert view.anchors[:, 1].tolist() == list(range(64, len(view.symbols), 64))
    assert (view.anchors[:, 0] * 8 == view.anchors[:, 1] * bits).all()


@pytest.mark.parametrize(
    ("bits", "symbols"),
    [(4, [1]), (4, [16, 0]), (1, [0] * 7), (16, [65536, 5]), (16, [65792])],
)
def test_sequences_that_units_cannot_write_are_refused(bits, symbols):
    with pytest.raises(DataError, match="units: sequence 0"):
        units(bits).decompress([np.array(symbols, dtype=np.uint32)])


def test_gzip_writes_a_fixed_header_and_a_plain_stream():
    (symbols,) = GzipCompressor.from_settings({}).compress([b"hello hello hello"])
    written = bytes(symbols.tolist())
    assert written[:10] == bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 2, 255])
    assert written[-8:] == zlib.crc32(b"hello hello hello").to_bytes(4, "little") + bytes(
        [17, 0, 0, 0]
    )
    assert written[10:] == gzip.compress(b"hello hello hello", mtime=0)[10:]


@given(raw=st.binary(max_size=400))
def test_gzip_of_any_bytes_comes_back(raw):
    check_views(GzipCompressor.from_settings({"level": 1}), [raw])


def test_gzip_of_odd_documents_comes_back_and_has_no_anchors():
    compressor = GzipCompressor.from_settings({})
    check_views(compressor, ODD_DOCUMENTS)
    assert all(view.anchors.shape == (0, 2) for view in compressor.encode(ODD_DOCUMENTS))


def test_the_level_changes_the_symbols_and_the_fingerprint():
    fast, small = load_compressor("gzip:level=1"), load_compressor("gzip")
    text = b"the quick brown fox, the quick brown dog, the slow brown fox " * 20
    assert fast.compress([text])[0].tolist() != small.compress([text])[0].tolist()
    assert fast.fingerprint != small.fingerprint
    assert small.settings == {"level": 9, "zlib_version": zlib.ZLIB_RUNTIME_VERSION}


def test_another_zlib_is_refused():
    with pytest.raises(DataError, match=r"made with zlib 0\.9, this Python has"):
        GzipCompressor.from_settings({"zlib_version": "0.9"})


@pytest.mark.parametrize("symbols", [[1, 2, 3], [300], [0x1F, 0x8B, 8, 0]])
def test_what_is_no_gzip_stream_is_refused(symbols):
    with pytest.raises(DataError, match="gzip: sequence 0"):
        GzipCompressor.from_settings({}).decompress([np.array(symbols, dtype=np.uint32)])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("units:bits=3", "bits: Input should be 16, 8, 4, 2 or 1"),
        ("units:bit=4", "unknown key 'bit'; did you mean 'bits'"),
        ("gzip:level=10", "level: Input should be less than or equal to 9"),
        ("units:4", "'4' is not key=value"),
    ],
)
def test_wrong_settings_are_named(name, message):
    with pytest.raises(UsageError, match=message):
        load_compressor(name)
