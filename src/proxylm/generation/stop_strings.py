"""Stop strings over a stream of bytes: exact, and never partly shown.

The first byte that completes a stop string ends the stream; the stop string is cut off. Where
several are complete at that byte, the longest is cut. Bytes that may still become a stop string
are held back until it is certain that they do not.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopScanner:
    """Passes a stream's bytes on, up to the first stop string.

    >>> scanner = StopScanner([b"end"])
    >>> scanner.feed(b"the e"), scanner.feed(b"n"), scanner.feed(b"ding"), scanner.stopped
    (b'the ', b'', b'', True)
    """

    def __init__(self, stops: Sequence[bytes]) -> None:
        assert all(stops), "an empty stop string would stop everywhere"
        # Longest first: of several that end at the same byte, the longest is cut off.
        self._stops = sorted(set(stops), key=lambda stop: (-len(stop), stop))
        self._held = b""
        self.stopped = False

    def feed(self, data: bytes) -> bytes:
        """The bytes that are now certain to come before any stop string."""
        if not self._stops:
            return data
        released = bytearray()
        for value in data:
            if self.stopped:
                break
            released += self._feed_byte(value)
        return bytes(released)

    def finish(self) -> bytes:
        """What was held back, once the stream has ended without completing a stop string."""
        rest, self._held = (b"" if self.stopped else self._held), b""
        return rest

    def _feed_byte(self, value: int) -> bytes:
        text = self._held + bytes([value])
        for stop in self._stops:
            if text.endswith(stop):
                self.stopped, self._held = True, b""
                return text[: -len(stop)]
        held = next((n for n in range(len(text), 0, -1) if self._may_begin_a_stop(text[-n:])), 0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def _may_begin_a_stop(self, end: bytes) -> bool:
        return any(stop.startswith(end) for stop in self._stops)
