"""The coder's kernels as one group, and the types that they are written with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from proxylm.compiled import KernelGroup

KERNEL_FILES = (
    "../../../compiled.py",
    "../../../symbols.py",
    "frequencies.py",
    "compiled.py",
    "interval.py",
    "settings.py",
    "automaton.py",
    "words.py",
    "automaton_build.py",
    "transitions.py",
    "automaton_engine.py",
    "../segmentation/automaton_walks.py",
    "lazy.py",
)

Uint64 = Any
"""A 64-bit word in a kernel: numpy's uint64 from Python, a machine word inside."""
Int64 = Any
"""A signed 64-bit number where numpy's type and Python's int would both be half the truth."""
Record = Any
"""One element of a structured array, whose fields kernels read and write as attributes."""

_here = Path(__file__).parent
_kernels = KernelGroup(_here, KERNEL_FILES)
compiled = _kernels.compiled
inlined = _kernels.inlined
