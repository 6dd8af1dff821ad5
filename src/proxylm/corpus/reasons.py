"""Why a document was left out: one closed list of slugs, counted by ``prepare``."""

from __future__ import annotations

from enum import StrEnum


class RejectionReason(StrEnum):
    """The reasons readers give; compressors add ``cannot_compress`` in the view store."""

    EMPTY = "empty"
    """No bytes at all (an empty file, an empty text field, a blank line)."""
    TOO_LONG = "too_long"
    """Longer than ``max_document_bytes``; skipped in bounded memory."""
    INVALID_UTF8 = "invalid_utf8"
    """A JSON line that is not UTF-8, or any text that is not where ``invalid_utf8: reject``."""
    LONE_SURROGATE = "lone_surrogate"
    """A JSON string with an unpaired surrogate escape: it has no bytes."""
    INVALID_JSON = "invalid_json"
    """A line that is not one JSON object."""
    TOO_DEEP = "too_deep"
    """A JSON line nested deeper than the parser goes."""
    DUPLICATE_KEY = "duplicate_key"
    """A field that is read stands twice in one object: which one is meant is unknown."""
    MISSING_TEXT = "missing_text"
    """The text field is absent or null."""
    WRONG_TEXT_TYPE = "wrong_text_type"
    """The text field is not a string."""
    BAD_SYMBOLS = "bad_symbols"
    """The symbols that should come with the document are absent or outside ``[0, K)``."""
    LINK = "link"
    """A symbolic link, also to a folder, that leads out of the corpus, or nowhere."""
    PACKED = "packed"
    """Compressed or an archive, and without records that can be read: no document as it is."""
    NOT_A_FILE = "not_a_file"
    """A device, socket or pipe."""
