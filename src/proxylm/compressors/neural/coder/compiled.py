"""The coder's kernels as one group."""

from __future__ import annotations

from pathlib import Path

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
    "../segmentation/automaton.py",
    "../segmentation/automaton_walks.py",
    "lazy.py",
)

_kernels = KernelGroup(Path(__file__).parent, KERNEL_FILES)
compiled = _kernels.compiled
inlined = _kernels.inlined
