"""A text in every view: spans and symbols as the library's, changes, deletions, collisions."""

from __future__ import annotations

import pytest

from compressors.neural.fake_lm import FakeLM
from proxylm.compressors.neural.coder.automaton_build import build_automaton
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.registry import load_compressor
from proxylm.compressors.segments import segments
from proxylm.errors import UsageError
from proxylm.inspector import text_views as module
from proxylm.inspector.text_views import (
    SHOWN_STRINGS,
    colliding_windows,
    collisions,
    deletions,
    text_views,
)

TEXT = b"def area(x):\n    return x\n" * 3
COMPRESSORS = {name: load_compressor(name) for name in ("units:bits=8", "gzip")}


@pytest.mark.parametrize("raw", [TEXT, b"", b"\xff\x00"])
def test_spans_and_symbols_are_those_of_the_library(raw):
    for view, compressor in zip(text_views(COMPRESSORS, raw), COMPRESSORS.values(), strict=True):
        found = segments(compressor, raw)
        assert view["starts"] == found.spans[:, 0].tolist()
        assert view["counts"] == list(map(len, found.symbols))
        assert view["symbols"] == [symbol for one in found.symbols for symbol in one.tolist()]
        assert "change" not in view


def test_an_edit_is_told_in_each_view():
    byte, gzip = text_views(COMPRESSORS, TEXT[1:], TEXT)
    assert byte["change"]["distance"] == pytest.approx(1 / len(TEXT))
    assert all(byte["change"]["kept"]) and byte["change"]["lost"] == 1
    assert gzip["change"]["distance"] > 0.1
    assert len(gzip["change"]["kept"]) == len(gzip["symbols"])


def test_a_view_that_cannot_be_had_is_an_error_of_its_own_alone(monkeypatch):
    class Refuses(type(COMPRESSORS["gzip"])):
        def encode(self, documents):
            return super().encode(documents)[:0]

    refuses = Refuses.from_settings({})
    good, bad = text_views({"good": COMPRESSORS["gzip"], "bad": refuses}, TEXT)
    assert "symbols" in good
    assert bad == {"name": "bad", "error": "gzip: encode gave 0 results for 1 documents"}


def test_deletions_are_of_the_stretch_around_the_cursor(monkeypatch):
    monkeypatch.setattr(module, "SWEPT_BYTES", 32)
    for place in (0, 40, len(TEXT), 10 * len(TEXT)):
        found = deletions(COMPRESSORS, TEXT, place)
        starts = found["starts"]
        assert len(starts) <= 32
        assert starts[0] <= min(place, len(TEXT) - 1) <= starts[-1]
        assert [one["name"] for one in found["curves"]] == list(COMPRESSORS)
        assert found["curves"][0]["distances"] == pytest.approx([1 / len(starts)] * len(starts))
    with pytest.raises(UsageError, match="no character"):
        deletions(COMPRESSORS, b"", 0)


def test_collisions_are_all_strings_with_the_windows_codes():
    automaton = build_automaton(FakeLM(), CoderSettings(pack_bits=8))
    raw = b"def a: \xff"
    windows = list(colliding_windows(automaton, raw))
    assert b"".join(one["string"] for one in windows) == raw
    assert any(one["count"] > 1 for one in windows)
    for one in windows:
        assert len(one["strings"]) == min(SHOWN_STRINGS, one["count"])
        for string in one["strings"][:2]:
            (alone,) = colliding_windows(automaton, string)
            assert alone["symbols"] == one["symbols"] and alone["count"] == one["count"]
        assert [each["symbol"] for each in one["behind"]] == one["symbols"]
        assert all(each["count"] >= one["count"] for each in one["behind"])


def test_other_compressors_have_no_windows():
    assert collisions(load_compressor("gzip"), b"any") == {"windows": None}
