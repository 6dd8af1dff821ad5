"""What kernels take from the machine: arrays by their address, floats by their bits.

Weights of all layers go into a kernel as one array of addresses: to hand over a hundred arrays, one
by one, takes longer than a small model's products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from proxylm.models.kernels.decoding.compiled import compiled, inlined

_LOG2_E = np.float32(1.44269504)
_LN_2_HIGH = np.float32(0.693359375)  # exact in a few bits: a product with it is exact
_LN_2_LOW = np.float32(-2.12194440e-4)
_SMALLEST, _LARGEST = np.float32(-87.0), np.float32(88.0)

Generated = tuple[Any, Callable[..., Any]]


@intrinsic
def _pointer(_: Any, address: Any, like: Any) -> Generated:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(types.int64, like), generate


@intrinsic
def _float_of_bits(_: Any, bits: Any) -> Generated:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def _widened(_: Any, weight: Any) -> Generated:
    is_bits = weight == types.uint16

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not is_bits:
            return arguments[0]
        bits = builder.zext(arguments[0], ir.IntType(32))
        upper = builder.shl(bits, ir.Constant(ir.IntType(32), 16))
        return builder.bitcast(upper, ir.FloatType())

    return types.float32(weight), generate


@inlined
def widened(weight: Any) -> Any:
    """A weight as float32: itself, or of the bits of a bfloat16, which are its upper half."""
    return _widened(weight)  # type: ignore[call-arg]


@compiled
def array_at(address: int, shape: tuple[int, ...], like: NDArray[Any]) -> Any:
    """The contiguous array at an address, of the type of ``like``; whoever gives the address keeps
    the array alive."""
    return carray(_pointer(np.int64(address), like), shape)  # type: ignore[call-arg]


@compiled
def exponential(x: Any) -> Any:
    """``exp`` of a float32 to about its last bit, so that a loop over it becomes vectors.

    ``2^n`` by its bits, times a polynomial of the rest (Cephes' ``expf``). Below -87 it is ``exp``
    of that, all but 0.
    """
    x = min(max(x, _SMALLEST), _LARGEST)
    n = np.floor(x * _LOG2_E + np.float32(0.5))
    r = x - n * _LN_2_HIGH - n * _LN_2_LOW
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1.0)
    bits = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    return p * _float_of_bits(bits)  # type: ignore[call-arg]
