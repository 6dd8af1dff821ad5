"""How a document is read when it is scored: as its bytes, or as a compressor's symbols."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import Compressor
from proxylm.errors import UsageError
from proxylm.inputs import as_documents
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import BYTE_COUNT, Format, opening

Content = NDArray[np.integer]
"""Content symbols of one document ``[m]``: bytes, or a compressor's symbols, without offset."""


def prefix_of(model: LanguageModel, content_format: Format) -> NDArray[np.int64]:
    """Ids that the model reads before a document's content."""
    return np.array(opening(content_format, sentinels=model.config.sentinels), dtype=np.int64)


class Reading(ABC):
    """One way to read documents; ``symbol_count`` bounds the content's symbols."""

    format: Format
    symbol_count: int

    @abstractmethod
    def contents(self, documents: Sequence[bytes]) -> list[Content]:
        """The content symbols of each document, in order.

        Raises:
            UsageError: a document is no bytes.
            DataError: a compressor has no exact form for one.
        """


class RawView(Reading):
    """Documents read as their bytes: ``<bos> <raw> bytes``."""

    format = Format.RAW
    symbol_count = BYTE_COUNT

    def contents(self, documents: Sequence[bytes]) -> list[Content]:
        """See the base class."""
        return [np.frombuffer(document, dtype=np.uint8) for document in as_documents(documents)]


class CompressedReading(Reading):
    """Documents read as a reversible compressor's symbols: ``<bos> <compressed> symbols``.

    Raises:
        UsageError: the compressor is lossy: many documents share its symbols, so their
            probability is not that of the document.
    """

    format = Format.COMPRESSED

    def __init__(self, compressor: Compressor) -> None:
        if not compressor.reversible:
            raise UsageError(
                f"text cannot be read as symbols of '{compressor.kind}': it is lossy, "
                "its symbols do not determine the bytes"
            )
        self.compressor = compressor
        self.symbol_count = compressor.symbol_count

    def contents(self, documents: Sequence[bytes]) -> list[Content]:
        """See the base class."""
        return list(self.compressor.compress(documents))
