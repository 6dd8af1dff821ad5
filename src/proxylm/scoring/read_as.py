"""How a trained model is read, as commands and settings say it in plain values."""

from __future__ import annotations

from proxylm.config import Config

BYTES, TOKENS = "bytes", "tokens"


class ReadAs(Config):
    """What a model's input and output are taken for.

    Attributes:
        read_as: how the model reads: bytes, tokens (its compressor's symbols), or the name of a
            view of its training data.
        compressor: the model's compressor, where its symbols are read. (default: its training
            data's)
    """

    read_as: str = BYTES
    compressor: str | None = None
