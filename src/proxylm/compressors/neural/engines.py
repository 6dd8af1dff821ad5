"""The coder's forms by name, and which one a compressor uses when nobody asks for one."""

from __future__ import annotations

from proxylm.compressors.neural.byte_lm import ByteLM
from proxylm.compressors.neural.coder.batched import BatchedEngine
from proxylm.compressors.neural.coder.engine import Engine
from proxylm.compressors.neural.coder.naive import NaiveEngine
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.errors import UsageError

ENGINES = {engine.name: engine for engine in (NaiveEngine, BatchedEngine)}


def named_engine(name: str, lm: ByteLM, settings: CoderSettings) -> Engine:
    """The engine called ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in ENGINES:
        raise UsageError(f"no engine '{name}'; choose one of {', '.join(ENGINES)}")
    return ENGINES[name](lm, settings)


def default_engine(lm: ByteLM, settings: CoderSettings) -> Engine:
    """The fastest form that the settings allow."""
    return BatchedEngine(lm, settings)
