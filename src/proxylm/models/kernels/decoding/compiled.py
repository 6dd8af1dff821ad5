"""The decoding kernels of this folder as one group."""

from __future__ import annotations

from pathlib import Path

from proxylm.compiled import KernelGroup

KERNEL_FILES = ("../../../compiled.py", "compiled.py", "few_rows.py", "loops.py", "machine.py")

_GROUP = KernelGroup(Path(__file__).parent, KERNEL_FILES, fast_math=True)
compiled, inlined = _GROUP.compiled, _GROUP.inlined
