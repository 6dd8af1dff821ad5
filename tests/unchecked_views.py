"""Views as a faulty compressor makes them; where annotations are checked, no one can build them."""

from __future__ import annotations

from copy import copy
from typing import Any

from proxylm.compressors.contract import CompressedView


def altered(view: CompressedView, **fields: Any) -> CompressedView:
    """The view with other values in some fields, whatever they are."""
    wrong = copy(view)
    for name, values in fields.items():
        object.__setattr__(wrong, name, values)
    return wrong
