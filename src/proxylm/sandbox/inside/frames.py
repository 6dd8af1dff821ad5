"""Messages over pipes: four bytes of length, big-endian, then that many bytes."""

from __future__ import annotations

import os

CHUNK_BYTES = 1 << 20


def send(descriptor: int, payload: bytes) -> None:
    """Write one message."""
    data = memoryview(len(payload).to_bytes(4, "big") + payload)
    while data:
        data = data[os.write(descriptor, data) :]


def receive(descriptor: int) -> bytes | None:
    """Read one message; None when the other side has gone."""
    header = _read(descriptor, 4)
    return None if header is None else _read(descriptor, int.from_bytes(header, "big"))


def _read(descriptor: int, size: int) -> bytes | None:
    parts = []
    while size > 0:
        part = os.read(descriptor, min(size, CHUNK_BYTES))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
