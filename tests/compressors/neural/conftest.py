"""Automata of the small made-up byte LM, built once."""

from __future__ import annotations

import dataclasses

import pytest
from coder_cases import ALL_SETTINGS, TERMINATIONS
from fake_lm import FakeLM

from proxylm.compressors.neural.coder.automaton import Automaton
from proxylm.compressors.neural.coder.automaton_build import build_automaton
from proxylm.compressors.neural.coder.settings import CoderSettings


@pytest.fixture(scope="session")
def automata() -> dict[CoderSettings, Automaton]:
    """By settings, for all of ``ALL_SETTINGS`` with 16-bit windows."""
    built = {
        termination.kind: build_automaton(FakeLM(), CoderSettings(termination=termination))
        for termination in TERMINATIONS
    }
    return {
        settings: dataclasses.replace(built[settings.termination.kind], settings=settings)
        for settings in ALL_SETTINGS
        if settings.window_bits == 16
    }


@pytest.fixture(scope="session")
def automaton(automata: dict[CoderSettings, Automaton]) -> Automaton:
    """The one of the default settings."""
    return automata[CoderSettings()]
