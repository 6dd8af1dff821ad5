"""The kernels of this folder as one group."""

from __future__ import annotations

from pathlib import Path

from proxylm.compiled import KernelGroup

KERNEL_FILES = ("../../compiled.py", "compiled.py", "kernels.py")

compiled = KernelGroup(Path(__file__).parent, KERNEL_FILES).compiled
