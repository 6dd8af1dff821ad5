"""Why a document was left out: one closed list of slugs, and what a user can do about them."""

from __future__ import annotations

from enum import StrEnum


class RejectionReason(StrEnum):
    """The reasons that readers give, and the one of compressors."""

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
    CANNOT_COMPRESS = "cannot_compress"
    """A compressor has no exact form for the document."""


REMEDIES: dict[str, str] = {
    RejectionReason.TOO_LONG: "raise max_document_bytes (--max-document-bytes)",
    RejectionReason.INVALID_UTF8: (
        "JSON lines have to be UTF-8; files and tables are kept with invalid_utf8 keep "
        "(--invalid-utf8)"
    ),
    RejectionReason.INVALID_JSON: (
        "each line has to be one JSON object; jq -c '.[]' makes lines of an array"
    ),
    RejectionReason.MISSING_TEXT: "name the documents' field with text_field (--text-field)",
    RejectionReason.WRONG_TEXT_TYPE: "name the documents' field with text_field (--text-field)",
    RejectionReason.BAD_SYMBOLS: (
        "symbols_field (--symbols-field) and symbol_count (--symbol-count) have to fit them"
    ),
    RejectionReason.PACKED: (
        "unpack it, or read its bytes as they are with files documents (--files)"
    ),
    RejectionReason.LINK: "copy into the folder what the link leads to",
}
"""What helps, by reason: the setting of ``CorpusConfig`` and the option that commands give it."""
