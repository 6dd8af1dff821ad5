from __future__ import annotations

import os

from proxylm.compressors.neural.coder import compiled as compiled_module
from proxylm.compressors.neural.coder.compiled import KERNEL_FILES


def test_every_kernel_file_counts_in_the_caches_name():
    folder = compiled_module._here
    users = {
        os.path.relpath(path, folder)
        for path in folder.parent.rglob("*.py")
        if "\n@compiled\n" in path.read_text() or "\n@inlined\n" in path.read_text()
    }
    assert len(users) > 4
    assert users <= set(KERNEL_FILES)
    assert all((folder / name).is_file() for name in KERNEL_FILES)
