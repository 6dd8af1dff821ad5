"""What a compressor makes of a text, told apart and drawn."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest
from compressor_cases import TEXTS

from proxylm.compressors.contract import CannotCompress
from proxylm.compressors.registry import load_compressor
from proxylm.compressors.segments import Segments, segments
from proxylm.compressors.token_bytes import TokenBytesCompressor, TokenBytesSettings
from proxylm.errors import DataError, UsageError
from small_neural import small_compressor

RAW = "".join(TEXTS)[:300].encode() + b"\xff\x00\xe9 end"


def assert_covers(found: Segments, raw: bytes) -> None:
    """The spans are the document, and the symbols are what the compressor gives."""
    assert found.raw == raw
    starts, stops = found.spans.T
    assert starts[0] == 0 and stops[-1] == len(raw)
    assert starts[1:].tolist() == stops[:-1].tolist()
    assert len(found.symbols) == len(found.spans)


@pytest.mark.parametrize(
    ("encoding", "double_byte"),
    [(None, False), ("fixed", False), ("fixed", True), ("gray", False), ("huffman", False)],
)
def test_tokenizers_are_told_apart_token_by_token(trained, encoding, double_byte):
    tokenizer = trained["bpe"]
    compressor = tokenizer
    if encoding is not None:
        counts = np.arange(tokenizer.symbol_count)
        settings = TokenBytesSettings(encoding=encoding, double_byte=double_byte)
        needed = counts if settings.needs_frequencies else None
        compressor = TokenBytesCompressor(tokenizer, settings, needed)
    found = segments(compressor, RAW)
    assert_covers(found, RAW)
    (symbols,) = compressor.compress([RAW])
    assert np.concatenate(found.symbols).tolist() == symbols.tolist()
    (tokens,) = tokenizer.compress([RAW])
    spelled = [RAW[start:stop] for start, stop in found.spans.tolist()]
    assert spelled == [tokenizer.token_bytes[token] for token in tokens]
    assert compressor.decompress(found.symbols) == spelled
    assert found.bytes_per_symbol == len(RAW) / len(symbols)


def test_neural_compressors_are_told_apart_by_their_segments():
    compressor = small_compressor()
    found = segments(compressor, RAW)
    assert_covers(found, RAW)
    assert np.diff(found.spans).ravel().tolist() == compressor.cut([RAW])[0].tolist()
    (symbols,) = compressor.compress([RAW])
    assert np.concatenate(found.symbols).tolist() == symbols.tolist()


@pytest.mark.parametrize(
    ("name", "count"),
    [("gzip", 1), ("units:bits=8", len(RAW)), ("units:bits=16", -(-len(RAW) // 2))],
)
def test_gzip_is_one_piece_and_units_are_told_apart_by_their_bytes(name, count):
    found = segments(load_compressor(name), RAW)
    assert_covers(found, RAW)
    assert len(found.spans) == count
    (symbols,) = load_compressor(name).compress([RAW])
    assert np.concatenate(found.symbols).tolist() == symbols.tolist()
    spelled = [RAW[start:stop] for start, stop in found.spans.tolist()]
    assert load_compressor(name).decompress(found.symbols) == spelled


def drawn(parts: Sequence[bytes]) -> Segments:
    stops = np.cumsum([len(part) for part in parts])
    spans = np.stack([stops - [len(part) for part in parts], stops], axis=1)
    symbols = [np.array([number], np.uint32) for number in range(len(parts))]
    return Segments(raw=b"".join(parts), spans=spans, symbols=symbols)


def test_the_drawing_shows_borders_and_hides_nothing_from_a_terminal(monkeypatch):
    found = drawn([b"def", b" f\n", b"\x1b[31m", b"\xff"])
    text = "def│ f⏎\n│\\x1b[31m│\\xff\n4 segments of 12 bytes, 4 symbols, 3.00 bytes per symbol"
    assert str(found) == text
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert str(found) != text
    assert "\x1b[31m" not in str(found)


def test_the_notebook_shows_symbols_and_takes_text_as_text():
    shown = drawn([b"<b>", b"&"])._repr_html_()
    assert 'title="0">&lt;b&gt;</span>' in shown
    assert 'title="1">&amp;</span>' in shown
    assert "<b>" not in shown


def test_nothing_is_no_segment_and_no_rate(trained):
    found = segments(trained["bpe"], b"")
    assert found.spans.shape == (0, 2)
    assert found.symbols == []
    assert "nan bytes per symbol" in str(found)


def test_text_has_to_be_encoded(trained):
    with pytest.raises(UsageError, match="encode text first"):
        segments(trained["bpe"], "text")


def test_a_document_without_exact_form_is_refused(trained, monkeypatch):
    compressor = load_compressor("gzip")
    refusal = CannotCompress(reason="not_exact", detail="in a test")
    monkeypatch.setattr(type(compressor), "encode", lambda self, documents: [refusal])
    with pytest.raises(DataError, match="gzip: cannot compress this \\(not_exact\\) in a test"):
        segments(compressor, b"x")
