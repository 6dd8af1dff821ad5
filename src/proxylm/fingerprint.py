"""Fingerprints: short, stable names for content, used to tell foreign or stale data from ours."""

from __future__ import annotations

import json
from typing import Any

import xxhash


def fingerprint_of(*parts: bytes | str | int | float | dict[str, Any] | list[Any] | None) -> str:
    """128-bit XXH3 of the parts, in hexadecimal; equal on every machine and Python version.

    Each part is preceded by its length, so that ``("ab", "c")`` and ``("a", "bc")`` differ.
    """
    digest = xxhash.xxh3_128()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
