from __future__ import annotations

from proxylm import symbols
from proxylm.symbols import Format


def test_layout_is_the_methods():
    assert (symbols.PAD, symbols.BOS, symbols.EOS, symbols.UNK, symbols.SEP) == (0, 1, 2, 3, 4)
    assert (Format.RAW.open, Format.RAW.close) == (12, 13)
    assert (Format.COMPRESSED.open, Format.COMPRESSED.close) == (14, 15)
    assert (Format.RAW.offset, Format.COMPRESSED.offset) == (64, 320)
    assert symbols.vocabulary_size(96_640) == 96_960
    assert symbols.vocabulary_size(0) == 320


def test_names_tell_the_three_ranges_apart():
    assert symbols.symbol_name(12) == "<raw>"
    assert symbols.symbol_name(63) == "<extra_id_63>"
    assert symbols.symbol_name(64) == "b'\\x00'"
    assert symbols.symbol_name(319) == "b'\\xff'"
    assert symbols.symbol_name(320) == "#0"
