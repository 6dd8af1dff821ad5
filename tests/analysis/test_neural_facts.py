"""What ``compressor info`` says of neural compressors, against plain counting."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from chain_compressor import DOCUMENTS, MarkovChain, chain_automaton, chain_compressor, random_lm
from proxylm.analysis import compression
from proxylm.analysis.compression import measure, measure_held_out
from proxylm.analysis.neural_facts import CorpusObserver, automaton_facts, strings_behind
from proxylm.compressors.contract import CannotCompress
from proxylm.compressors.neural.coder.lm_engines import NaiveEngine
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.registry import load_compressor
from proxylm.compressors.units import UnitsCompressor
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.document import Document
from proxylm.corpus.left_out import LeftOut
from proxylm.corpus.opening import open_corpus
from proxylm.errors import DataError, UsageError


def documents_of(raws: list[bytes]) -> list[Document]:
    return [Document(id=f"d{index}", raw=raw) for index, raw in enumerate(raws)]


def observed(compressor):
    observer = CorpusObserver(compressor)
    counts = measure(compressor, documents_of(DOCUMENTS), LeftOut(), observer.add)
    return counts, observer


def test_counts_and_rate():
    compressor = chain_compressor()
    counts, observer = observed(compressor)
    symbols = sum(map(len, compressor.compress(DOCUMENTS)))
    num_bytes = sum(map(len, DOCUMENTS))
    assert counts == {
        "documents": len(DOCUMENTS),
        "rejected": 0,
        "num_bytes": num_bytes,
        "symbols": symbols,
        "bytes_per_symbol": num_bytes / symbols,
    }
    segments = sum(len(lengths) for lengths in compressor.cut(DOCUMENTS))
    assert observer.facts()["segments"] == segments
    assert observer.facts()["bytes_per_segment"] == num_bytes / segments


class Picky(UnitsCompressor):
    """Has no form for documents with a ``!``."""

    def encode(self, documents):
        views = super().encode(documents)
        refusal = CannotCompress(reason="loud", detail="byte 0")
        return [
            refusal if b"!" in raw else view for raw, view in zip(documents, views, strict=True)
        ]


def test_documents_that_cannot_be_said_are_counted_apart_with_their_reason():
    seen, left_out = [], LeftOut()
    picky = Picky.from_settings({"bits": 8})
    documents = documents_of([b"ab", b"!", b"!!"])
    counts = measure(picky, documents, left_out, lambda *shown: seen.append(shown))
    assert (counts["documents"], counts["rejected"], seen[0][0]) == (1, 2, [b"ab"])
    assert str(left_out) == "2 cannot_compress (first: d1: loud byte 0)"
    assert measure(load_compressor("gzip"), [], left_out)["bytes_per_symbol"] is None


def test_a_compressor_that_can_say_no_document_is_not_blamed_on_the_split(tmp_path):
    (tmp_path / "a").write_bytes(b"!")
    corpus = open_corpus(CorpusConfig(path=str(tmp_path)))
    with pytest.raises(
        DataError, match=r"can be compressed; left out: 1 cannot_compress \(first: a"
    ):
        measure_held_out(Picky.from_settings({"bits": 8}), corpus, 1.0, LeftOut())


def test_batches_are_bounded_by_documents_and_by_bytes(monkeypatch):
    monkeypatch.setattr(compression, "BATCH_BYTES", 10)
    shown: list[list[bytes]] = []
    documents = [b"x"] * 130 + [b"y" * 12, b"z"]
    monkeypatch.setattr(compression, "BATCH_DOCUMENTS", 8)
    counts = measure(
        load_compressor("gzip"),
        documents_of(documents),
        LeftOut(),
        lambda raws, _: shown.append(list(raws)),
    )
    assert [raw for raws in shown for raw in raws] == documents
    assert counts["documents"] == len(documents)
    assert max(map(len, shown)) == 8
    assert all(sum(map(len, raws[:-1])) < 10 for raws in shown)


def test_bits_per_byte_are_the_byte_lm_s():
    _, observer = observed(chain_compressor())
    texts = [document for document in DOCUMENTS if document]
    assert max(map(len, texts)) > random_lm().context
    short = chain_compressor()
    document = DOCUMENTS[0][: random_lm().context]
    only = CorpusObserver(short)
    measure(short, documents_of([document]), LeftOut(), only.add)
    (bits,) = random_lm().exact_bits([document])
    assert only.facts()["bits_per_byte"] == pytest.approx(bits.mean(), abs=1e-4)
    assert 0 < observer.facts()["bits_per_byte"] < 16


@pytest.mark.parametrize("pack_bits", [8, 16])
def test_the_histogram_counts_the_bytes_of_each_window(pack_bits):
    compressor = chain_compressor(pack_bits=pack_bits)
    counts, observer = observed(compressor)
    expected: Counter[int] = Counter()
    engine = NaiveEngine(MarkovChain("any"), CoderSettings(pack_bits=pack_bits))
    for document, lengths in zip(DOCUMENTS, compressor.cut(DOCUMENTS), strict=True):
        for end, length in zip(np.cumsum(lengths).tolist(), lengths.tolist(), strict=True):
            rest = document[end - length : end]
            while rest:
                num_bytes, _ = engine._longest(rest)
                expected[num_bytes * pack_bits // 16] += 16 // pack_bits
                rest = rest[num_bytes:]
    histogram = observer.facts()["bytes_per_symbol_histogram"]
    assert {int(size): count for size, count in histogram.items()} == expected
    assert sum(histogram.values()) == counts["symbols"]


def test_without_an_automaton_segments_share_their_bytes():
    compressor = chain_compressor("fixed", window_bits=None, pack_bits=8)
    counts, observer = observed(compressor)
    histogram = observer.facts()["bytes_per_symbol_histogram"]
    assert sum(histogram.values()) == counts["symbols"]
    assert automaton_facts(None) == {}


def test_facts_of_the_automaton():
    automaton = chain_automaton(CoderSettings())
    facts = automaton_facts(automaton)
    assert facts["nodes"] == len(automaton)
    assert facts["distinct_codes"] == len(np.unique(automaton.codes[1:]))
    assert facts["collisions"]["of"] == "windows"
    assert facts["collisions"]["high_lcp"]["paper"]["strings"] == "segments"


@pytest.mark.parametrize("pack_bits", [8, 16])
def test_the_strings_behind_a_symbol_are_all_that_have_it(pack_bits):
    compressor = chain_compressor(pack_bits=pack_bits)
    automaton = compressor.automaton
    symbol = int(compressor.compress([DOCUMENTS[0]])[0][3])
    found = strings_behind(compressor, symbol, None, shown=7)
    codes = [automaton.code_symbols(code) for code in automaton.codes[1:].tolist()]
    assert found["count"] == sum(symbol in symbols for symbols in codes) > 0
    assert found["of"] == "windows"
    assert len(found["strings"]) == min(7, found["count"])
    nodes = {repr(string): node for node, string in enumerate(automaton.strings)}
    for one in found["strings"]:
        assert symbol in one["symbols"]
        code = int(automaton.codes[nodes[one["string"]]])
        assert one["symbols"] == automaton.code_symbols(code)


def test_without_an_automaton_a_corpus_is_looked_through():
    compressor = chain_compressor("fixed", window_bits=None, pack_bits=8)
    _, observer = observed(compressor)
    symbol = int(compressor.compress([DOCUMENTS[0]])[0][0])
    found = strings_behind(compressor, symbol, observer, shown=100)
    assert found["of"] == "segments"
    assert repr(DOCUMENTS[0][:16]) in [one["string"] for one in found["strings"]]
    with pytest.raises(UsageError, match="give a --corpus"):
        strings_behind(compressor, symbol, None, shown=1)
    with pytest.raises(UsageError, match="symbols are 0 to 255"):
        strings_behind(compressor, 256, observer, shown=1)
