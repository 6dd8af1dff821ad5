"""How kernels are compiled: with numba, cached on disk, without the GIL; the types they speak of.

Numba's cache notices a change of the file that holds a function, not of the files whose functions
it inlines: after an upgrade a kernel could go on computing with yesterday's steps. The cache
folder of a group of kernels is therefore named after the sources of all of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core import config
from numpy.typing import NDArray

from proxylm.fingerprint import fingerprint_of

Kernel = TypeVar("Kernel", bound=Callable[..., object])

Uint64 = Any
"""A 64-bit word in a kernel: numpy's uint64 from Python, a machine word inside."""
Int64 = Any
"""A signed 64-bit number where numpy's type and Python's int would both be half the truth."""
Record = Any
"""One element of a structured array, whose fields kernels read and write as attributes."""
Records = NDArray[np.void]
Uint8s = NDArray[np.uint8]
Uint16s = NDArray[np.uint16]
Uint32s = NDArray[np.uint32]
Uint64s = NDArray[np.uint64]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
"""Arrays, named after what they hold."""

_numba_config: Any = config

# Of LLVM's flags those that leave comparisons with NaN and infinity alone.
_REORDERED_SUMS = {"reassoc", "contract", "nsz", "arcp"}


class KernelGroup:
    """Kernels that call each other, and the files that they stand in.

    Args:
        folder: where the group lives; the cache lies in its ``__pycache__``.
        files: every file with code of the group, relative to ``folder``.
        fast_math: whether sums may be reordered and fused with products, as every library of
            matrix products does, so that loops over floats become vector instructions. NaN and
            infinity keep their meaning. For integers it changes nothing.
    """

    def __init__(self, folder: Path, files: Sequence[str], *, fast_math: bool = False) -> None:
        self._folder = folder
        self._sources = fingerprint_of(*((folder / name).read_bytes() for name in files))
        self._fast_math = _REORDERED_SUMS if fast_math else False

    def compiled(self, function: Kernel) -> Kernel:
        """Compile a kernel on its first call; later processes load it from the cache.

        Where nothing can be written (no home folder, a read-only installation), every process
        compiles anew.
        """
        return self._compile(function, forceinline=False)

    def inlined(self, function: Kernel) -> Kernel:
        """Compile a small step of a kernel, which becomes part of its caller."""
        return self._compile(function, forceinline=True)

    def _compile(self, function: Kernel, *, forceinline: bool) -> Kernel:
        before = _numba_config.CACHE_DIR
        parent = Path(before) if before else self._folder / "__pycache__"
        _numba_config.CACHE_DIR = str(parent / f"kernels-{self._sources[:16]}")
        options: dict[str, Any] = {
            "nogil": True,
            "forceinline": forceinline,
            "fastmath": self._fast_math,
        }
        try:
            return cast(Kernel, numba.njit(cache=True, **options)(function))
        except RuntimeError:
            return cast(Kernel, numba.njit(**options)(function))
        finally:
            _numba_config.CACHE_DIR = before


def keeps_kernels() -> bool:
    """Whether kernels that were compiled are kept for later processes; see ``compiled``."""
    try:
        numba.njit(cache=True)(_nothing)
    except RuntimeError:
        return False
    return True


def _nothing() -> None:
    """A kernel."""
