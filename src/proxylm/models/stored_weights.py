"""What weights on a disk have to be, whoever wrote the file: floating-point numbers.

torch copies integers into a model without a word: a quantized file without its scales, or token
ids saved under a weight's name, would load as a model that computes something.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open

from proxylm.errors import DamagedFileError

_FLOATING = ("F", "BF")
"""How safetensors' names of them begin (``F32``, ``BF16``); others are I, U, BOOL and C."""


def require_floating_point(path: Path) -> None:
    """Refuse a safetensors file with any other tensor in it; its header alone is read.

    Raises:
        DamagedFileError: there is one; it is named.
        SafetensorError, OSError: the file cannot be read.
    """
    with safe_open(path, framework="numpy") as file:
        for name in sorted(file.keys()):
            stored = file.get_slice(name).get_dtype()
            if not stored.startswith(_FLOATING):
                raise DamagedFileError(
                    f"{path}: tensor '{name}' is of type {stored}, and weights are floating-point "
                    "numbers; write the file again with such (F32, F16, BF16)"
                )
