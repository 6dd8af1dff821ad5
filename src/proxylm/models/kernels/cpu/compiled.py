"""Compiled loops on one thread, kept on disk where there is a place to keep them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compiled(function: Kernel) -> Kernel:
    """The function as machine code.

    Sums may be reordered, as every vectorized matrix product does; NaN and infinity keep their
    meaning.
    """
    options: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz", "arcp"}, "nogil": True}
    try:
        return cast(Kernel, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to keep the cache: compile in every process
        return cast(Kernel, numba.njit(**options)(function))
