"""The four forms of the coder agree symbol for symbol, on whatever comes."""

from __future__ import annotations

import numpy as np
import pytest
from coder_cases import ALL_SETTINGS, segments, settings_name
from fake_lm import FakeLM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxylm.compressors.neural.coder import lazy
from proxylm.compressors.neural.coder.automaton_engine import AutomatonEngine
from proxylm.compressors.neural.coder.lazy import LazyEngine
from proxylm.compressors.neural.coder.lm_engines import BatchedEngine, NaiveEngine
from small_neural import coded

CASES_PER_SETTINGS = 175
LONG_CASES_PER_SETTINGS = 500
NOISE = 1e-15
assert CASES_PER_SETTINGS * len(ALL_SETTINGS) >= 2000

UNCHECKED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.fixture(params=ALL_SETTINGS, ids=settings_name)
def forms(request, automata, monkeypatch):
    """The oracle and the others, which read floats with noise; one lazy trie is always full."""
    chosen, noisy = request.param, FakeLM(noise=NOISE)
    others = [BatchedEngine(noisy, chosen), LazyEngine(noisy, chosen)]
    monkeypatch.setattr(lazy, "MEMORY_LIMIT_BYTES", 0)
    others.append(LazyEngine(noisy, chosen))
    if chosen in automata:
        others.append(AutomatonEngine(automata[chosen]))
    return NaiveEngine(FakeLM(), chosen), others


def assert_forms_agree(forms, some: list[bytes]) -> None:
    oracle, others = forms
    expected = coded(oracle, some)
    assert [len(one) > 0 for one in expected] == [len(segment) > 0 for segment in some]
    for engine in others:
        for result, one in zip(coded(engine, some), expected, strict=True):
            np.testing.assert_array_equal(result, one, err_msg=engine.name)


@given(some=st.lists(segments(32), min_size=1, max_size=3))
@settings(max_examples=CASES_PER_SETTINGS, deadline=None, suppress_health_check=UNCHECKED)
def test_forms_agree(forms, some):
    assert_forms_agree(forms, some)


@pytest.mark.long
@pytest.mark.timeout(3600)
@given(some=st.lists(segments(256), min_size=1, max_size=4))
@settings(max_examples=LONG_CASES_PER_SETTINGS, deadline=None, suppress_health_check=UNCHECKED)
def test_forms_agree_at_length(forms, some):
    assert_forms_agree(forms, some)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_forms_agree_on_a_million_equal_bytes(forms):
    assert_forms_agree(forms, [b"a" * 1024] * 976 + [b"a" * 576])
