"""The coder's engines by name, and which one a compressor uses when nobody asks for one."""

from __future__ import annotations

from proxylm.compressors.neural.coder.automaton import Automaton
from proxylm.compressors.neural.coder.automaton_engine import AutomatonEngine
from proxylm.compressors.neural.coder.contract import Engine
from proxylm.compressors.neural.coder.frequencies import ByteDistribution
from proxylm.compressors.neural.coder.lazy import LazyEngine
from proxylm.compressors.neural.coder.lm_engines import BatchedEngine, LmEngine, NaiveEngine
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.errors import UsageError

_READING_THE_LM: dict[str, type[LmEngine]] = {
    engine.name: engine for engine in (NaiveEngine, BatchedEngine, LazyEngine)
}
ENGINES = (*_READING_THE_LM, AutomatonEngine.name)
"""Their names."""


def engine_of(
    name: str | None, lm: ByteDistribution, settings: CoderSettings, automaton: Automaton | None
) -> Engine:
    """The engine called ``name``; None is a table where there is one, else what remembers.

    Raises:
        UsageError: there is none, or it needs an automaton that the windows do not have.
    """
    if name is None:
        name = LazyEngine.name if automaton is None else AutomatonEngine.name
    if name in _READING_THE_LM:
        return _READING_THE_LM[name](lm, settings)
    if name != AutomatonEngine.name:
        raise UsageError(f"no engine '{name}'; choose one of {', '.join(ENGINES)}")
    if automaton is None:
        raise UsageError(
            "engine automaton: this compressor's windows are not enumerated "
            f"(window_bits: {settings.window_bits}); take lazy"
        )
    return AutomatonEngine(automaton)
