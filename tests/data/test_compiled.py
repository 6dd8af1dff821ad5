from __future__ import annotations

import numpy as np
import pytest
from numba.core import config

from proxylm.data.packing import compiled as compiled_module
from proxylm.data.packing.compiled import KERNEL_FILES, compiled
from proxylm.data.packing.pointers import int64_at, uint8_at, uint16_at, uint32_at


def add(a, b):
    return a + b


def test_where_nothing_can_be_cached_kernels_still_compile():
    # A function that no file holds: numba finds no place for its cache.
    homeless = type(add)(add.__code__.replace(co_filename="<nowhere>"), {})
    assert compiled(homeless)(2, 3) == 5


def test_numbas_own_settings_are_left_alone():
    before = config.CACHE_DIR
    assert compiled(add)(2, 3) == 5
    assert before == config.CACHE_DIR


def test_every_kernel_file_counts_in_the_caches_name():
    folder = compiled_module._here
    users = {
        path.name
        for path in folder.glob("*.py")
        if "import" in path.read_text() and "@compiled" in path.read_text()
    }
    assert users <= set(KERNEL_FILES)
    assert all((folder / name).is_file() for name in KERNEL_FILES)


@pytest.mark.parametrize(
    ("read", "dtype"),
    [(uint8_at, np.uint8), (uint16_at, np.uint16), (uint32_at, np.uint32), (int64_at, np.int64)],
)
def test_arrays_are_read_at_their_address(read, dtype):
    values = np.arange(100, 120).astype(dtype)
    assert read(values.ctypes.data, 20).tolist() == values.tolist()
    assert read(values.ctypes.data + 3 * values.itemsize, 2).tolist() == [103, 104]
