from __future__ import annotations

import numpy as np
import pytest
from coder_cases import ALL_SETTINGS, settings_name
from fake_lm import FakeLM

from proxylm.compressors.neural.coder import lazy
from proxylm.compressors.neural.coder.frequencies import FrequencySource
from proxylm.compressors.neural.coder.lazy import NODE_BYTES, SMALLEST_CAPACITY, LazyEngine, Trie
from proxylm.compressors.neural.coder.lm_engines import NaiveEngine
from proxylm.compressors.neural.coder.settings import CoderSettings
from small_neural import coded


def various_segments(count: int) -> list[bytes]:
    random = np.random.default_rng(5)
    lengths = random.integers(1, 40, count)
    return [bytes(random.integers(0, 256, length, dtype=np.uint8)) for length in lengths]


def assert_same(results, expected):
    for result, one in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, one)


@pytest.fixture(params=ALL_SETTINGS[::2], ids=settings_name)
def settings(request) -> CoderSettings:
    return request.param


def test_what_was_met_is_never_asked_for_again(settings):
    lm = FakeLM()
    engine = LazyEngine(lm, settings)
    expected = coded(engine, various_segments(60))
    rows_given = lm.rows_given
    assert_same(coded(engine, various_segments(60)[::-1])[::-1], expected)
    assert lm.rows_given == rows_given


def test_calls_are_few():
    lm = FakeLM()
    coded(LazyEngine(lm, CoderSettings(window_bits=32)), various_segments(400))
    assert lm.calls < 60


def test_a_full_trie_forgets_and_goes_on(settings, monkeypatch):
    forgotten = []
    forget = Trie.forget
    monkeypatch.setattr(Trie, "forget", lambda trie: (forgotten.append(trie.count), forget(trie)))
    segments = [*various_segments(200), b"a" * 1024, bytes(range(256)) * 4]
    monkeypatch.setattr(lazy, "MEMORY_LIMIT_BYTES", 0)
    engine = LazyEngine(FakeLM(), settings)
    assert_same(coded(engine, segments), coded(NaiveEngine(FakeLM(), settings), segments))
    assert forgotten, "the trie was never full"
    assert max(forgotten) <= SMALLEST_CAPACITY


def test_more_segments_than_walks_at_once(settings, monkeypatch):
    segments = various_segments(50)
    expected = coded(LazyEngine(FakeLM(), settings), segments)
    monkeypatch.setattr(lazy, "WALKS_AT_ONCE", 7)
    assert_same(coded(LazyEngine(FakeLM(), settings), segments), expected)


def test_the_named_memory_of_a_node_is_what_it_takes():
    root = FrequencySource(FakeLM(), 32).rows_after([b""])[0]
    capacity = 1 << 12
    trie = Trie(root, capacity)
    num_bytes = sum(array.nbytes for array in trie.tables())
    assert num_bytes <= capacity * NODE_BYTES


def test_nodes_share_what_strings_have_in_common():
    source = FrequencySource(FakeLM(), 32)
    trie = Trie(source.rows_after([b""])[0], 100)
    for string, num_nodes in ((b"abc", 4), (b"abd", 5), (b"ab", 5), (b"b", 6)):
        trie.add(np.frombuffer(string, np.uint8), source.rows([string])[0])
        assert trie.count == num_nodes
        assert trie.room == 100 - num_nodes
    trie.forget()
    assert trie.count == 1
