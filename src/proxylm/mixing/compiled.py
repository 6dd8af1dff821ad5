"""How the kernels of this folder are compiled: with numba, cached on disk, without the GIL.

Numba's cache notices a change of the file that holds a function, not of the files whose functions
it inlines: after an upgrade a kernel could go on drawing with yesterday's counters. The cache
folder is therefore named after the sources of all kernels together.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import config

from proxylm.fingerprint import fingerprint_of

KERNEL_FILES = (
    "../symbols.py",
    "compiled.py",
    "counter.py",
    "pointers.py",
    "tables.py",
    "spans.py",
    "packing.py",
    "materialize.py",
)

Uint64 = Any
"""A 64-bit word in a kernel: numpy's uint64 from Python, a machine word inside."""
Int64 = Any
"""A signed 64-bit number where numpy's type and Python's int would both be half the truth."""
Record = Any
"""One element of a structured array, whose fields kernels read and write as attributes."""

Kernel = TypeVar("Kernel", bound=Callable[..., object])

_numba_config: Any = config
_here = Path(__file__).parent
_sources = fingerprint_of(*((_here / name).read_bytes() for name in KERNEL_FILES))


def compiled(function: Kernel) -> Kernel:
    """Compile a kernel on its first call; later processes load it from the cache.

    Where nothing can be written (no home folder, a read-only installation), every process
    compiles anew.
    """
    return _compile(function, forceinline=False)


def inlined(function: Kernel) -> Kernel:
    """Compile a small step of a kernel, which becomes part of its caller."""
    return _compile(function, forceinline=True)


def _compile(function: Kernel, *, forceinline: bool) -> Kernel:
    before = _numba_config.CACHE_DIR
    parent = Path(before) if before else _here / "__pycache__"
    _numba_config.CACHE_DIR = str(parent / f"kernels-{_sources[:16]}")
    try:
        return cast(Kernel, numba.njit(cache=True, nogil=True, forceinline=forceinline)(function))
    except RuntimeError:
        return cast(Kernel, numba.njit(nogil=True, forceinline=forceinline)(function))
    finally:
        _numba_config.CACHE_DIR = before
