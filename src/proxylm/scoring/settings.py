"""How documents are scored, as commands say it in plain values."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveInt

from proxylm.config import Config


class DocumentScoring(Config):
    """Which documents are scored, in which windows, and where their rows go.

    Attributes:
        context: symbols per window. (default: as in training)
        stride: symbols per further window; bytes of a stretch, read mixed. (default: half the
            context; mixed 256)
        limit_documents: stop after so many documents.
        limit_bytes: stop with the document that reaches this many bytes.
        rows: write every document's row into this file, as JSON lines.
        shown: how many documents' rows stand below the total.
    """

    context: int | None = None
    stride: int | None = None
    limit_documents: PositiveInt | None = None
    limit_bytes: PositiveInt | None = None
    rows: Path | None = None
    shown: int = Field(default=20, ge=0)
