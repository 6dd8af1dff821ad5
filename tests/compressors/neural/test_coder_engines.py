from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from coder_cases import ALL_SETTINGS, settings_name
from fake_lm import FakeLM, TiedLM
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxylm.compressors.neural.coder.automaton import Automaton
from proxylm.compressors.neural.coder.automaton_engine import AutomatonEngine
from proxylm.compressors.neural.coder.contract import Engine
from proxylm.compressors.neural.coder.lazy import LazyEngine
from proxylm.compressors.neural.coder.lm_engines import BatchedEngine, NaiveEngine
from proxylm.compressors.neural.coder.settings import (
    CoderSettings,
    DeterminedTermination,
    MinimalTermination,
)
from proxylm.config import validate_config
from proxylm.errors import UsageError
from small_neural import coded

TEXT = "def wörter(x):\n    return [aaa for aaa in x if aaa]   # ü\n".encode() * 4
SEGMENTS = [TEXT[start : start + 1 + start % 23] for start in range(0, 200, 9)]
RUN_LENGTH = 1_000_000


def engines(settings: CoderSettings, automata, lm=None) -> list[Engine]:
    lm = lm or FakeLM()
    found: list[Engine] = [cls(lm, settings) for cls in (NaiveEngine, BatchedEngine, LazyEngine)]
    if settings in automata:
        found.append(AutomatonEngine(automata[settings]))
    return found


def assert_same(results, expected):
    assert len(results) == len(expected)
    for result, one in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, one)


@pytest.fixture(params=ALL_SETTINGS, ids=settings_name)
def settings(request) -> CoderSettings:
    return request.param


class UniformLM(FakeLM):
    """Every byte has exactly 8 bits, so codes are the bytes themselves."""

    def canonical(self, string):
        return np.full((len(string) + 1, 256), 1 / 256)


@pytest.mark.parametrize("engine_class", [NaiveEngine, BatchedEngine, LazyEngine])
def test_equally_probable_bytes_are_their_own_code(settings, engine_class):
    engine = engine_class(UniformLM(), settings)
    width = settings.pack_bits // 8
    window_bytes = (settings.window_bits or 1 << 20) // 8
    segment = b"proxy lm!"
    padded = b"".join(
        segment[start : start + window_bytes].ljust(
            window_bytes if settings.window_bits else -(-len(segment) // width) * width, b"\0"
        )
        for start in range(0, len(segment), window_bytes)
    )
    expected = np.frombuffer(padded, f">u{width}")
    np.testing.assert_array_equal(coded(engine, [segment])[0], expected)


def test_segments_that_are_empty_or_one_byte_long(settings, automata):
    segments = [b"", *(bytes([byte]) for byte in range(256)), b""]
    expected = coded(NaiveEngine(FakeLM(), settings), segments)
    for engine in engines(settings, automata):
        results = coded(engine, segments)
        assert_same(results, expected)
        assert len(results[0]) == len(results[-1]) == 0
        per_window = (settings.window_bits or 0) // settings.pack_bits
        assert {len(one) for one in results[1:-1]} <= ({per_window} if per_window else {1, 2})
        assert results[1].dtype == np.uint32


def test_nothing_at_all(settings, automata):
    for engine in engines(settings, automata):
        assert coded(engine, []) == []
        assert [len(one) for one in coded(engine, [b"", b""])] == [0, 0]


def test_symbols_are_below_the_symbol_count(settings, automata):
    for engine in engines(settings, automata):
        assert max(int(one.max()) for one in coded(engine, SEGMENTS)) < settings.symbol_count
        assert settings.symbol_count == 1 << settings.pack_bits


def test_a_segments_symbols_do_not_depend_on_its_neighbours(settings, automata):
    for engine in engines(settings, automata):
        together = coded(engine, SEGMENTS)
        assert_same([coded(engine, [segment])[0] for segment in SEGMENTS], together)
        assert_same(coded(engine, SEGMENTS[::-1])[::-1], together)
        assert_same(coded(engine, SEGMENTS[:3] * 50)[-3:], together[:3])


def test_threads_do_not_change_symbols(settings, automata):
    for engine in engines(settings, automata)[1:]:
        expected = coded(engine, SEGMENTS)
        with ThreadPoolExecutor(4) as pool:
            for results in pool.map(partial(coded, engine), [SEGMENTS] * 8):
                assert_same(results, expected)


def test_symbols_of_segments_follow_each_other(settings, automata):
    raw = np.frombuffer(b"".join(SEGMENTS), np.uint8)
    lengths = np.array([len(segment) for segment in SEGMENTS], np.uint32)
    for engine in engines(settings, automata):
        found = engine.code(raw, lengths)
        alone = [coded(engine, [segment])[0] for segment in SEGMENTS]
        np.testing.assert_array_equal(found.symbols, np.concatenate(alone))
        assert found.symbols_per_segment.tolist() == [len(one) for one in alone]


def test_lengths_that_do_not_fit_are_refused(automaton):
    engine = AutomatonEngine(automaton)
    with pytest.raises(ValueError, match="longer than 1024"):
        coded(engine, [bytes(1025)])
    with pytest.raises(ValueError, match="add up to 3"):
        engine.code(np.zeros(3, np.uint8), np.array([1, 1], np.uint32))


# How far an engine looks ahead doubles from half of these: up to 256, or past it.
@pytest.mark.parametrize("window_bits", [16, 24])
def test_no_window_is_longer_than_256_bytes(window_bits, automata):
    settings = CoderSettings(window_bits=window_bits, pack_bits=8)
    for engine in engines(settings, automata):
        codes = coded(engine, [b"a" * count for count in (255, 256, 257, 512, 513)])
        assert [8 * len(code) / window_bits for code in codes] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("window_bits", [16, 32, None])
def test_a_million_equal_bytes(window_bits, automata):
    settings = CoderSettings(window_bits=window_bits)
    segments = [b"a" * 1024] * (RUN_LENGTH // 1024) + [b"a" * (RUN_LENGTH % 1024)]
    [whole, rest] = coded(NaiveEngine(FakeLM(), settings), [segments[0], segments[-1]])
    expected = [whole] * (len(segments) - 1) + [rest]
    for engine in engines(settings, automata)[2:]:
        assert_same(coded(engine, segments), expected)
    assert_same(coded(BatchedEngine(FakeLM(), settings), segments[-9:]), expected[-9:])


def strings_of(automaton: Automaton, code: int) -> list[bytes]:
    return [automaton.strings[node] for node in automaton.nodes_by_code[code]]


@given(st.data())
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_minimal_codes_collide_with_extensions_alone(automata, data):
    automaton = automata[CoderSettings(termination=MinimalTermination())]
    code = data.draw(st.sampled_from(sorted(automaton.nodes_by_code)))
    strings = sorted(strings_of(automaton, code), key=len)
    for shorter, longer in pairwise(strings):
        assert longer.startswith(shorter)


def test_determined_codes_collide_across_first_bytes(automaton):
    clusters = [strings_of(automaton, code) for code in automaton.nodes_by_code]
    assert any(len({string[0] for string in cluster}) > 1 for cluster in clusters)


@pytest.mark.parametrize("lm_class", [FakeLM, TiedLM])
@pytest.mark.parametrize("engine_class", [NaiveEngine, BatchedEngine, LazyEngine])
def test_noise_of_the_floats_moves_no_symbol(settings, engine_class, lm_class):
    expected = coded(NaiveEngine(lm_class(), settings), SEGMENTS)
    assert_same(coded(engine_class(lm_class(noise=1e-14), settings), SEGMENTS), expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window_bits": 8}, "window_bits: Input should be greater than or equal to 16"),
        ({"window_bits": 56}, "window_bits: Input should be less than or equal to 48"),
        ({"window_bits": 24}, "window_bits 24 is no multiple of pack_bits 16"),
        ({"pack_bits": 4}, "pack_bits: Input should be 8 or 16"),
        ({"termination": {"kind": "flush"}}, "termination"),
    ],
)
def test_settings_that_make_no_symbols_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        validate_config(CoderSettings, values)


def test_settings_are_plain_values():
    settings = CoderSettings(window_bits=None, pack_bits=8, termination=MinimalTermination())
    assert settings.model_dump(mode="json") == {
        "window_bits": None,
        "pack_bits": 8,
        "termination": {"kind": "minimal"},
    }
    assert validate_config(CoderSettings, settings.model_dump()) == settings
    assert CoderSettings().termination == DeterminedTermination()
