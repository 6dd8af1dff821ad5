"""Reading arrays at an address, inside kernels: the columns of all shards in one compiled call.

A store has any number of shards and a compiled function takes a fixed number of arrays, so the
kernels get tables of addresses (``data.packing.tables``, which also keeps the memory maps alive).
The store has checked that every row lies inside its file.
"""

from __future__ import annotations

from typing import Any

import numba
from numba import types
from numba.extending import intrinsic

from proxylm.data.packing.compiled import compiled


def _pointer_to(element: types.Type) -> Any:
    """An intrinsic that turns an int64 address into a pointer to ``element``."""
    pointer_type = types.CPointer(element)

    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(pointer_type))

        return pointer_type(types.int64), generate

    return pointer


_uint8_pointer = _pointer_to(types.uint8)
_uint16_pointer = _pointer_to(types.uint16)
_uint32_pointer = _pointer_to(types.uint32)
_int64_pointer = _pointer_to(types.int64)


@compiled
def uint8_at(address: int, count: int) -> Any:
    """``count`` bytes at an address, as an array."""
    return numba.carray(_uint8_pointer(address), (count,))


@compiled
def uint16_at(address: int, count: int) -> Any:
    """``count`` 16-bit unsigned integers at an address, as an array."""
    return numba.carray(_uint16_pointer(address), (count,))


@compiled
def uint32_at(address: int, count: int) -> Any:
    """``count`` 32-bit unsigned integers at an address, as an array."""
    return numba.carray(_uint32_pointer(address), (count,))


@compiled
def int64_at(address: int, count: int) -> Any:
    """``count`` 64-bit integers at an address, as an array."""
    return numba.carray(_int64_pointer(address), (count,))


def _borrow(typing_context: Any, arrays: Any) -> Any:
    """The same named tuple, its arrays without reference counts.

    Every mention of an array field in a kernel costs two atomic operations otherwise, which
    is most of the time where a call does little. The caller holds the arrays meanwhile.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        value = arguments[0]
        for index, field in enumerate(arrays.types):
            if isinstance(field, types.Array):
                original = builder.extract_value(value, index)
                array = context.make_array(field)(context, builder, original)
                array.meminfo = array.meminfo.type(None)
                array.parent = array.parent.type(None)
                value = builder.insert_value(value, array._getvalue(), index)
        return value

    return arrays(arrays), generate


borrowed: Any = intrinsic(_borrow)
