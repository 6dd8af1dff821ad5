"""Bytes shown as text while they arrive, without breaking a character in two.

Only for showing: what is invalid as UTF-8 appears as U+FFFD, exactly as in decoding the whole at
once. Whoever needs the bytes takes the bytes; nothing is dropped or repaired.
"""

from __future__ import annotations

import codecs


class TextStream:
    """Incremental UTF-8 decoding with replacement.

    The pieces joined equal ``whole.decode("utf-8", "replace")``, however the bytes were cut.

    >>> stream = TextStream()
    >>> stream.feed(b"caf\\xc3"), stream.feed(b"\\xa9"), stream.finish()
    ('caf', 'é', '')
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes) -> str:
        """The characters that are complete (or certainly broken) with these bytes."""
        return self._decoder.decode(data)

    @property
    def inside_character(self) -> bool:
        """Whether the last bytes began a character that may still become complete."""
        return bool(self._decoder.getstate()[0])

    def finish(self) -> str:
        """What an unfinished last character shows as: nothing, or one U+FFFD."""
        return self._decoder.decode(b"", final=True)
