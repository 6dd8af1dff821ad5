"""From one record (a JSON object, a table row) to a document or the reason it is none."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.corpus.config import RecordFields
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.left_out import RejectionReason
from proxylm.inputs import as_symbols


def document_from_bytes(
    raw: bytes, *, identity: str, fields: RecordFields, symbols: Any = None
) -> Document | Rejection:
    """Check one document's bytes (and symbols) and wrap them."""
    reason: RejectionReason | None = None
    given = None
    if not raw:
        reason = RejectionReason.EMPTY
    elif len(raw) > fields.max_document_bytes:
        reason = RejectionReason.TOO_LONG
    elif fields.reject_invalid_utf8 and not is_utf8(raw):
        reason = RejectionReason.INVALID_UTF8
    elif fields.symbol_count is not None:
        given = _checked_symbols(symbols, fields.symbol_count)
        reason = RejectionReason.BAD_SYMBOLS if given is None else None
    if reason is not None:
        detail = f"{len(raw)} bytes" if reason is RejectionReason.TOO_LONG else ""
        return Rejection(id=identity, reason=reason, detail=detail)
    return Document(id=identity, raw=raw, symbols=given)


def document_from_text(
    text: object, *, identity: str, fields: RecordFields, symbols: Any = None
) -> Document | Rejection:
    """Check one record's text value and wrap its UTF-8 bytes."""
    if text is None:
        return Rejection(id=identity, reason=RejectionReason.MISSING_TEXT)
    if not isinstance(text, str):
        detail = f"found {type(text).__name__}"
        return Rejection(id=identity, reason=RejectionReason.WRONG_TEXT_TYPE, detail=detail)
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return Rejection(id=identity, reason=RejectionReason.LONE_SURROGATE)
    return document_from_bytes(raw, identity=identity, fields=fields, symbols=symbols)


def chosen_identity(value: object, otherwise: str) -> str:
    """A record's own id where it has a usable one (text or a number), else ``otherwise``."""
    identity = value if isinstance(value, bytes) else b""
    if isinstance(value, str | int) or (isinstance(value, float) and isfinite(value)):
        identity = str(value).encode(errors="surrogatepass")
    return identity.decode() if identity and is_utf8(identity) else otherwise


def is_utf8(raw: bytes) -> bool:
    """Whether bytes are valid UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _checked_symbols(values: Any, symbol_count: int) -> NDArray[np.uint32] | None:
    """Values as uint32 in ``[0, symbol_count)``, or None if they are none or anything else."""
    try:
        symbols = as_symbols(values, symbol_count)
    except ValueError:
        return None
    return symbols if symbols.size else None
