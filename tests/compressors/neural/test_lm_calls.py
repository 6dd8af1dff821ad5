"""How the forms that read the LM ask for it: how often, and how much at a time."""

from __future__ import annotations

import numpy as np
import pytest
from coder_cases import ALL_SETTINGS, settings_name
from fake_lm import FakeLM

from proxylm.compressors.neural.coder import lm_engines
from proxylm.compressors.neural.coder.frequencies import FrequencySource
from proxylm.compressors.neural.coder.lm_engines import BatchedEngine, NaiveEngine, path_frequencies
from proxylm.compressors.neural.coder.settings import CoderSettings
from small_neural import coded

SEGMENTS = [bytes(range(start, start + 5 + start % 11)) for start in range(0, 200, 3)]


class RecordingLM(FakeLM):
    """Remembers the strings of every call."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[bytes]] = []

    def probabilities(self, strings):
        self.asked.append(list(strings))
        return super().probabilities(strings)


def test_the_oracle_asks_once_per_window():
    settings = CoderSettings()
    for segment in SEGMENTS[:10]:
        lm = RecordingLM()
        symbols = coded(NaiveEngine(lm, settings), [segment])[0]
        assert len(lm.asked) == len(symbols)
        assert all(segment.endswith(ahead) for [ahead] in lm.asked)


def test_without_windows_the_oracle_asks_once_per_segment():
    lm = RecordingLM()
    coded(NaiveEngine(lm, CoderSettings(window_bits=None)), SEGMENTS[:10])
    assert lm.asked == [[segment] for segment in SEGMENTS[:10]]


def test_windows_are_batched_across_segments():
    lm = RecordingLM()
    symbols = coded(BatchedEngine(lm, CoderSettings()), SEGMENTS)
    longest = max(len(one) for one in symbols)
    # A round may find a window longer than it looked ahead, and looks again.
    assert longest <= len(lm.asked) <= longest + 3
    assert max(len(strings) for strings in lm.asked) == len(SEGMENTS)


@pytest.mark.parametrize("settings", ALL_SETTINGS[::2], ids=settings_name)
def test_rows_at_a_time_and_segments_side_by_side_do_not_matter(settings, monkeypatch):
    expected = coded(BatchedEngine(FakeLM(), settings), SEGMENTS)
    monkeypatch.setattr(lm_engines, "ROWS_PER_CALL", 30)
    monkeypatch.setattr(lm_engines, "SIDE_BY_SIDE", 5)
    lm = RecordingLM()
    for result, one in zip(coded(BatchedEngine(lm, settings), SEGMENTS), expected, strict=True):
        np.testing.assert_array_equal(result, one)
    assert max(len(strings) for strings in lm.asked) <= 5
    rows = [sum(len(one) + 1 for one in strings) for strings in lm.asked if len(strings) > 1]
    assert rows
    assert max(rows) <= 30


def test_path_frequencies_are_those_of_the_strings_bytes():
    string = b"path \x00\xff"
    [rows] = FrequencySource(FakeLM(), 16).rows([string])
    expected = [
        (int(row[:byte].sum()), int(row[byte])) for row, byte in zip(rows, string, strict=False)
    ]
    assert path_frequencies(rows, string).tolist() == [list(pair) for pair in expected]
