"""The kernels of this folder as one group."""

from __future__ import annotations

from pathlib import Path

from proxylm.compiled import KernelGroup

KERNEL_FILES = (
    "../../compiled.py",
    "../../symbols.py",
    "compiled.py",
    "counter.py",
    "pointers.py",
    "tables.py",
    "spans.py",
    "lanes.py",
    "kernel.py",
    "materialize.py",
)

_kernels = KernelGroup(Path(__file__).parent, KERNEL_FILES)
compiled = _kernels.compiled
inlined = _kernels.inlined
