from __future__ import annotations

import numpy as np
import pytest

from proxylm.data.packing.pointers import int64_at, uint8_at, uint16_at, uint32_at


@pytest.mark.parametrize(
    ("read", "dtype"),
    [(uint8_at, np.uint8), (uint16_at, np.uint16), (uint32_at, np.uint32), (int64_at, np.int64)],
)
def test_arrays_are_read_at_their_address(read, dtype):
    values = np.arange(100, 120).astype(dtype)
    assert read(values.ctypes.data, 20).tolist() == values.tolist()
    assert read(values.ctypes.data + 3 * values.itemsize, 2).tolist() == [103, 104]
