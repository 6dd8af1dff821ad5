from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from coder_cases import TERMINATIONS
from fake_lm import FakeLM
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxylm.compressors.neural.coder.automaton import (
    ROOT,
    Automaton,
    load_automaton,
    save_automaton,
)
from proxylm.compressors.neural.coder.automaton_build import build_automaton
from proxylm.compressors.neural.coder.automaton_engine import AutomatonEngine
from proxylm.compressors.neural.coder.frequencies import FrequencySource
from proxylm.compressors.neural.coder.lm_engines import NaiveEngine
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.coder.transitions import (
    LABEL_BITS,
    NO_EDGE,
    SEGMENT_START,
    transitions_of,
)
from proxylm.compressors.neural.coder.windows import window_of
from proxylm.errors import DamagedFileError, UsageError
from small_neural import coded


class PeakedLM(FakeLM):
    """Few strings fit in a window: any byte, and what most probably follows it."""

    def canonical(self, string):
        rows = np.full((len(string) + 1, 256), 0.4 / 255)
        rows[0] = 1 / 256
        for place, byte in enumerate(string, 1):
            rows[place, byte // 2] = 0.6
        return rows


@pytest.fixture(scope="module")
def small() -> Automaton:
    return build_automaton(PeakedLM(), CoderSettings())


FEW_FIRST_BYTES = range(0, 256, 5)


def strings_that_fit(lm, settings) -> dict[bytes, list[int]]:
    """By the definition, the symbols of every string that fits and starts with one of few bytes."""
    source, window = FrequencySource(lm, settings.window_bits), window_of(settings)
    found: dict[bytes, list[int]] = {}
    pending = [(b"", window.start)]
    while pending:
        string, interval = pending.pop()
        found[string] = window.symbols(interval)
        row = source.rows([string])[0][-1].tolist()
        below = 0
        for byte, frequency in enumerate(row):
            longer = window.extended(interval, below, frequency)
            below += frequency
            if longer is not None and (string or byte in FEW_FIRST_BYTES):
                pending.append((string + bytes([byte]), longer))
    return found


@pytest.mark.parametrize("termination", TERMINATIONS, ids=lambda one: one.kind)
def test_every_string_that_fits_is_a_node(termination):
    settings = CoderSettings(termination=termination, pack_bits=8)
    automaton = build_automaton(PeakedLM(), settings)
    expected = strings_that_fit(PeakedLM(), settings)
    nodes = zip(automaton.strings, automaton.codes.tolist(), strict=True)
    found = {
        string: automaton.code_symbols(code)
        for string, code in nodes
        if not string or string[0] in FEW_FIRST_BYTES
    }
    assert found == expected
    assert len(automaton) > len(expected) > 400


def test_probable_nodes_come_first(automaton):
    assert automaton.strings[ROOT] == b""
    assert (automaton.parents[1:] < np.arange(1, len(automaton))).all()
    lengths = [len(string) for string in automaton.strings]
    assert max(lengths) == 256
    assert lengths[1] == 1


def test_nodes_have_the_frequencies_of_their_strings(automaton):
    source = FrequencySource(FakeLM(), 16)
    for node in [ROOT, 1, 7, 300, len(automaton) - 1]:
        expected = source.rows_after([automaton.strings[node]])[0]
        np.testing.assert_array_equal(automaton.frequencies_at(node), expected)


def test_strings_behind_a_code(small):
    engine = AutomatonEngine(small)
    for code in list(small.nodes_by_code)[::20]:
        for symbols in coded(engine, [small.strings[node] for node in small.nodes_by_code[code]]):
            assert symbols.tolist() == small.code_symbols(code)
    assert sum(map(len, small.nodes_by_code.values())) == len(small) - 1


def test_larger_windows_are_refused_where_they_hold_too_much(monkeypatch):
    settings = CoderSettings(window_bits=24, pack_bits=8)
    monkeypatch.setattr("proxylm.compressors.neural.coder.automaton_build.MAX_NODES", 5000)
    with pytest.raises(UsageError, match="24 bits hold more than 5000 strings"):
        build_automaton(PeakedLM(), settings)


def test_progress_is_told():
    told = []
    automaton = build_automaton(
        PeakedLM(), CoderSettings(), progress=lambda _, done, total: told.append((done, total))
    )
    assert told[-1] == (len(automaton), len(automaton))
    assert [total for _, total in told[:-1]] == [None] * (len(told) - 1)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (CoderSettings(window_bits=None), "window_bits is None"),
        (CoderSettings(window_bits=48), "window_bits is 48"),
    ],
)
def test_what_does_not_enumerate_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        build_automaton(PeakedLM(), settings)


def test_the_file_gives_the_same_automaton_back(small, tmp_path):
    path = tmp_path / "automaton.safetensors"
    save_automaton(small, path)
    loaded = load_automaton(path)
    assert loaded.fingerprint == small.fingerprint
    assert loaded.settings == small.settings
    assert loaded.distribution_fingerprint == small.distribution_fingerprint
    for name, values in small.arrays().items():
        np.testing.assert_array_equal(loaded.arrays()[name], values)
        assert loaded.arrays()[name].dtype == values.dtype
    save_automaton(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.fixture(scope="module")
def stored(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("automaton") / "automaton.safetensors"
    save_automaton(small, path)
    return path.read_bytes()


@given(st.data())
@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_flipped_bit_is_found_and_the_file_named(stored, tmp_path, data):
    header = 8 + int.from_bytes(stored[:8], "little")
    end = data.draw(st.sampled_from([header, len(stored)]))
    place, bit = data.draw(st.integers(0, end - 1)), data.draw(st.integers(0, 7))
    damaged = bytearray(stored)
    damaged[place] ^= 1 << bit
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(damaged)
    with pytest.raises(DamagedFileError, match=r"damaged\.safetensors"):
        load_automaton(path)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_named(stored, tmp_path, keep):
    path = tmp_path / "short.safetensors"
    path.write_bytes(stored[:keep])
    with pytest.raises(DamagedFileError, match=r"short\.safetensors"):
        load_automaton(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DamagedFileError, match=r"nowhere\.safetensors"):
        load_automaton(tmp_path / "nowhere.safetensors")


def test_the_fingerprint_covers_everything(small):
    variants = [dataclasses.replace(small, distribution_fingerprint="another")]
    variants.append(dataclasses.replace(small, settings=CoderSettings(pack_bits=8)))
    for name, values in small.arrays().items():
        changed = values.copy()
        changed[-1] ^= 1
        variants.append(dataclasses.replace(small, **{name: changed}))
    names = {variant.fingerprint for variant in variants}
    assert len(names | {small.fingerprint}) == len(variants) + 1


def test_one_file_means_one_code_whatever_the_lm_computes(small, tmp_path):
    """Another machine's LM differs so much that it would code otherwise; the file decides."""

    class OtherMachine(PeakedLM):
        def canonical(self, string):
            rows = super().canonical(string)
            rows[1:, ord("a")] *= 1.3
            return rows / rows.sum(axis=1, keepdims=True)

    segments = [b"abcab", b"a0\x18\x0c\x06", bytes(30), b"zebra"]
    path = tmp_path / "automaton.safetensors"
    save_automaton(small, path)
    here, there = AutomatonEngine(small), AutomatonEngine(load_automaton(path))
    other = coded(NaiveEngine(OtherMachine(), small.settings), segments)
    codes = [one.tolist() for one in coded(here, segments)]
    assert codes != [one.tolist() for one in other]
    for one, another in zip(coded(here, segments), coded(there, segments), strict=True):
        np.testing.assert_array_equal(one, another)


@pytest.mark.parametrize("name", ["small", "automaton"])
def test_the_double_array_has_every_edge_and_no_other(name, request):
    automaton = request.getfixturevalue(name)
    edges = transitions_of(automaton)
    assert len(set(edges.bases.tolist())) == len(automaton)
    for byte in (0, 97, 255):
        for mark in (0, SEGMENT_START):
            slots = edges.slots[edges.bases + byte + mark]
            found = slots & NO_EDGE == byte + mark
            is_edge = np.zeros(len(automaton), bool)
            children = np.flatnonzero(automaton.labels == byte)
            children = children[children != ROOT]
            is_edge[automaton.parents[children]] = mark == 0
            np.testing.assert_array_equal(found, is_edge)
            if mark == 0:
                to = edges.bases[children]
                np.testing.assert_array_equal(slots[automaton.parents[children]] >> LABEL_BITS, to)
            assert automaton.strings[
                np.flatnonzero(edges.bases == edges.first[byte + mark])[0]
            ] == (bytes([byte]))


def test_values_are_found_by_base(small):
    edges = transitions_of(small)
    by_base = edges.by_base(small.codes)
    np.testing.assert_array_equal(by_base[edges.bases], small.codes)
